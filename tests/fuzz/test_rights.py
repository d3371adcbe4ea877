"""Whether somebody may more by an act of somebody who did not; and that it would be noticed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from identity.directory.access import editing
from identity.directory.clients import accounts as clients
from identity.directory.users import accounts as users
from identity.oauth import introspection
from tests.fuzz.administering import House, housed, search
from tests.proofs import LONG, effort

EXAMPLES = {"sqlite": effort(6, 50, 600), "postgresql": effort(3, 15, 600)}


@pytest.fixture
def house(make_settings: Callable[..., Any]) -> Iterator[House]:
    with housed(make_settings()) as house:
        yield house


@pytest.mark.fuzz
def test_nobody_may_more_by_an_act_of_somebody_who_did_not(house: House, dialect: str) -> None:
    search(house, EXAMPLES[dialect])


def _nothing(*_: Any, **__: Any) -> None:
    pass


QUICKLY = ("the last administrator", "a guard of users")
WITHOUT: dict[str, tuple[Any, str, Any]] = {
    "roles by name": (users, "check_roles", _nothing),
    "scopes of users": (users, "check_scopes", _nothing),
    "a guard of users": (users, "guard", _nothing),
    "the last administrator": (users, "keep_an_admin", _nothing),
    "scopes of clients": (clients, "check_scopes", _nothing),
    "audiences of clients": (clients, "check_audiences", _nothing),
    "a guard of clients": (clients, "guard", _nothing),
    "scopes of roles": (editing, "check_scopes", _nothing),
    "who sees a token": (introspection._Caller, "sees", lambda *_: True),
}


@pytest.mark.fuzz
@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("missing", WITHOUT if LONG else QUICKLY)
def test_it_is_noticed_where_a_rule_is_missing(
    house: House, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setattr(*WITHOUT[missing])
    with pytest.raises(AssertionError):
        search(house, 1_000, shrink=False)
