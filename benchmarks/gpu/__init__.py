"""The LivePortrait engine on a GPU: is it right, how fast are its parts, and how fast is the whole.

    python -m benchmarks.gpu [PART ...] [--forms WORDS] [--precision P] [--batch N] [--seconds-limit S] [--out DIR]
    python -m benchmarks.gpu gather     collect what a machine without a network lacks

Weights are random. `benchmarks/gpu.md` says what is expected, how to run it and how to read what it writes.
"""
