"""What cannot be undone is asked about, and without anybody to ask it takes `--yes`."""

from collections.abc import Callable
from typing import Any

import pytest

from scripts.docs import command_tree

Identity = Callable[..., Any]
DESTRUCTIVE = {
    "users delete": "ada",
    "clients delete": "billing",
    "roles delete": "clerk",
    "scopes delete": "orders:read",
    "trusted-issuers delete": "https://cluster.example",
}


@pytest.fixture
def filled(identity: Identity) -> None:
    for command in (
        "users create ada --generate",
        "clients create billing",
        "scopes create orders:read",
        "roles create clerk --scope orders:read",
        "keys rotate --now",
        "trusted-issuers create https://cluster.example",
    ):
        assert identity(*command.split()).code == 0


def test_every_command_that_destroys_can_be_told_not_to_ask() -> None:
    named = {name for name in command_tree() if name.endswith(" delete")} | {"keys revoke"}
    assert named == {*DESTRUCTIVE, "keys revoke"}
    assert all("--yes" in command_tree()[name].options for name in named)


@pytest.mark.usefixtures("filled")
def test_without_a_terminal_nothing_is_destroyed_unless_told_so(identity: Identity) -> None:
    kid = next(line.split()[0] for line in identity("keys", "list").out.splitlines()[1:])
    for command, what in {**DESTRUCTIVE, "keys revoke": kid}.items():
        unasked = identity(*command.split(), what)
        assert (unasked.code, unasked.out, unasked.err.count("\n")) == (2, "", 1), unasked
        assert unasked.err.startswith("identity: ")
        assert "--yes" in unasked.err
        listed = identity(command.split()[0], "list", "--json").out
        assert what in listed
        assert '"state": "revoked"' not in listed
    for command, what in {**DESTRUCTIVE, "keys revoke": kid}.items():
        assert identity(*command.split(), what, "--yes").code == 0
