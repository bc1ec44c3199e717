"""docs/server.md says what the command does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from liveportrait_v2v.cli import make_parser, serve
from liveportrait_v2v.server.config import ClusterConfig

TEXT = (Path(__file__).parent.parent.parent / "docs" / "server.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
(COMPOSE,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [
    line.partition("$(")[0] for line in SHELL.splitlines() if line.startswith("liveportrait-v2v serve")
]


def cluster_of(words: list[str]) -> ClusterConfig:
    """The cluster's part of a command's configuration; raises where a value is invalid."""
    return serve._cluster(make_parser().parse_args(words))


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_page_is_accepted(line):
    words = shlex.split(line)[1:]
    options = make_parser().parse_args(words)
    if options.database is not None and not options.migrate and options.action is None:
        assert cluster_of(words).in_bucket


def test_the_page_has_a_command_for_each_part_of_a_cluster():
    text = "\n".join(COMMANDS)
    for part in ("--role api", "--role worker", "--migrate", "serve status"):
        assert part in text


def test_the_compose_file_starts_an_api_and_two_workers_after_the_tables_are_made():
    services = yaml.safe_load(COMPOSE)["services"]
    roles = []
    for service in services.values():
        if service["image"] == "liveportrait-v2v":
            options = make_parser().parse_args(service["command"])
            if not options.migrate:
                roles += cluster_of(service["command"]).roles
                assert service["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
                assert service["environment"]["AWS_ENDPOINT_URL"] == "http://store:8333"
    assert sorted(roles) == ["api", "worker", "worker"]
    assert services["migrate"]["depends_on"]["database"]["condition"] == "service_healthy"
    assert {"database", "store"} <= set(services)


def test_each_option_of_the_command_is_explained():
    parser = make_parser()._subparsers._group_actions[0].choices["serve"]
    options = {
        option for action in parser._actions for option in action.option_strings if option.startswith("--")
    }
    assert [option for option in sorted(options - {"--help"}) if f"`{option}" not in TEXT] == []
