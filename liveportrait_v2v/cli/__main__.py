"""Entry point of `python -m liveportrait_v2v.cli`."""

import sys

from . import main

sys.exit(main())
