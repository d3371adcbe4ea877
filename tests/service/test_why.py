"""What administrators are told is what happens: generated states, asked about and tried."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlmodel import delete, select

from identity.authentication.throttle import LoginFailure
from identity.clock import utcnow
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.service import stopping, why
from identity.store import changes
from identity.tokens import lockdown
from identity.tokens.sessions.table import LoginSession
from tests.proofs import effort
from tests.world import PASSWORD, World

EXAMPLES = {"sqlite": effort(8, 300, 2_000), "postgresql": effort(4, 60, 600)}
HEARD: dict[str, tuple[int, str, str]] = {
    "client_disabled": (401, "invalid_client", ""),
    "grant_not_allowed": (400, "unauthorized_client", ""),
    "grant_switched_off": (400, "unauthorized_client", "switched off"),
    "throttled": (429, "temporarily_unavailable", ""),
    "lockdown": (503, "temporarily_unavailable", ""),
    "password_must_change": (400, "invalid_grant", "must be changed"),
    "second_factor_required": (400, "invalid_grant", "second factor"),
}
"""What whoever gives the right password hears of each; of any other, that it is wrong."""
WRONG = (400, "invalid_grant", "wrong")


@dataclass(frozen=True)
class Case:
    disabled: bool = False
    password: str = "good"
    must_change: bool = False
    expired: bool = False
    second_factor: bool = False
    failures: int = 0
    locked_down: bool = False
    may_lift: bool = False
    wants_level: bool = False
    client_disabled: bool = False
    may_use_grant: bool = True


ALONE = [
    Case(),
    Case(disabled=True),
    Case(password="none"),
    Case(password="unreadable"),
    Case(must_change=True),
    Case(must_change=True, expired=True),
    Case(second_factor=True),
    Case(failures=2),
    Case(locked_down=True),
    Case(locked_down=True, may_lift=True),
    Case(locked_down=True, may_lift=True, wants_level=True),
    Case(client_disabled=True),
    Case(may_use_grant=False),
]
"""Each obstacle with no other; the generated cases have several."""


rarely = st.sampled_from([False, False, False, True])
cases = st.builds(
    Case,
    disabled=rarely,
    password=st.sampled_from(["good", "good", "good", "none", "unreadable"]),
    must_change=rarely,
    expired=st.booleans(),
    second_factor=rarely,
    failures=st.sampled_from([0, 0, 1, 2, 3]),
    locked_down=st.booleans(),
    may_lift=st.booleans(),
    wants_level=st.booleans(),
    client_disabled=rarely,
    may_use_grant=st.sampled_from([True, True, True, False]),
)


@pytest.fixture
def settings_of_service(make_settings: Callable[..., Any]) -> Any:
    return make_settings(login_max_failures=2)


@pytest.fixture(name="settings")
def _settings(settings_of_service: Any) -> Any:
    return settings_of_service


def generated(strategy: Any, examples: int) -> list[Any]:
    """Drawn all at once: the service's own chores draw random numbers beside."""
    found: list[Any] = []

    @settings(max_examples=examples, database=None, phases=[Phase.generate])
    @given(strategy)
    def draw(example: Any) -> None:
        found.append(example)

    draw()
    return found


class Tried:
    """A user, a client and a role that are made to be as each case has them."""

    def __init__(self, world: World, address: str) -> None:
        self.world = world
        self.address = address
        self.user = world.user("ada")
        self.shop = world.client("shop", grants=("password",))
        with world.change() as session:
            session.add(Role(name="keeper"))
            session.flush()
            session.add(RoleScope(role="keeper", scope="lockdown:write"))
        self.hash = self.user.password_hash

    def become(self, case: Case) -> None:
        with self.world.change() as session:
            user = accounts.get(session, self.user.id, lock=True)
            hashes = {"good": self.hash, "none": None, "unreadable": "$9$what"}
            user.password_hash = hashes[case.password]
            user.status = "disabled" if case.disabled else "active"
            user.must_change_password = case.must_change
            ahead = timedelta(hours=-1 if case.expired else 1)
            user.password_expires_at = utcnow() + ahead if case.must_change else None
            user.second_factor = case.second_factor
            role = session.get_one(Role, "keeper")
            role.acr = "aal2" if case.wants_level else None
            session.add(role)
            changes.record(session, "role.changed", "keeper")
            accounts.set_roles(session, user, ["keeper"] if case.may_lift else [], None)
            accounts.touch(session, user)
            session.exec(delete(LoginFailure))
            client = session.get_one(Client, "shop")
            client.status = "disabled" if case.client_disabled else "active"
            client.grants = ["password"] if case.may_use_grant else ["client_credentials"]
            session.add(client)
            changes.record(session, "client.changed", "shop")
            if case.locked_down:
                stopping.begin(session, "Drill", False)
            else:
                stopping.lift(session)
            attempt = self.world.services.throttle.attempt("ada", self.address)
            for _ in range(case.failures):
                attempt.failed(session, user.id)

    async def log_in(self) -> tuple[int, str, str]:
        answer = await self.world.token(
            self.shop, grant_type="password", username="ada", password=PASSWORD
        )
        said = answer.json()
        return answer.status_code, said.get("error", ""), said.get("error_description", "")


def address_of(world: World) -> str:
    with world.change() as session:
        found = session.exec(select(LoginSession.address)).first()
    assert found is not None
    return found


@pytest.mark.proof
async def test_why_somebody_cannot_sign_in_is_why_they_are_refused(
    world: World, dialect: str
) -> None:
    world.user("bob")
    await world.log_in("bob")
    tried = Tried(world, address_of(world))
    met = set[str]()

    for case in [*ALONE, *generated(cases, EXAMPLES[dialect])]:
        tried.become(case)
        told = await why.sign_in(
            world.services, tried.user.id, client_id="shop", address=tried.address
        )
        status, error, words = await tried.log_in()
        reasons = [obstacle.reason for obstacle in told.obstacles]
        if not reasons:
            assert status == 200, (case, words)
            continue
        first = reasons[0]
        met.add(first)
        expected = HEARD.get(first, WRONG)
        if case.locked_down and first in why.OF_ACCOUNT.values():
            expected = HEARD["lockdown"]  # nobody hears more
        assert (status, error) == expected[:2], (case, reasons, words)
        if expected[0] == 400:
            assert expected[2] in words, (case, reasons, words)

    assert met >= {*why.OF_ACCOUNT.values(), *HEARD} - {"grant_switched_off"}


SCOPES = ("orders:read", "print", "users:read", "openid", "account")


@dataclass(frozen=True)
class Asked:
    held: tuple[str, ...]
    client: tuple[str, ...]
    asked: tuple[str, ...]
    resource: str | None
    wants_level: bool


subsets = st.lists(st.sampled_from([*SCOPES, "*"]), unique=True, max_size=4).map(tuple)
asked = st.builds(
    Asked,
    held=st.lists(st.sampled_from(SCOPES[:3]), unique=True).map(tuple),
    client=subsets,
    asked=st.lists(st.sampled_from(SCOPES), unique=True, min_size=1, max_size=4).map(tuple),
    resource=st.sampled_from([None, None, "https://orders.example.com"]),
    wants_level=st.booleans(),
)


@pytest.mark.proof
async def test_why_somebody_may_do_something_is_why_their_token_says_so(
    world: World, dialect: str
) -> None:
    ada = world.user("ada")
    resource = "https://orders.example.com"
    world.client("shop", grants=("password",), audiences=[resource])
    shop = replace(world.client("other", grants=("password",)), id="shop")
    shop = replace(shop, secret=world.secret("shop"))
    with world.change() as session:
        session.add(Scope(name="orders:read", audience=resource))
        session.add(Scope(name="print"))
        session.add(Role(name="some"))
        session.flush()
        accounts.set_roles(session, accounts.get(session, ada.id, lock=True), ["some"], None)

    for case in generated(asked, EXAMPLES[dialect]):
        with world.change() as session:
            session.exec(delete(RoleScope).where(RoleScope.role == "some"))  # type: ignore[arg-type]
            session.add_all(RoleScope(role="some", scope=name) for name in case.held)
            role = session.get_one(Role, "some")
            role.acr = "aal2" if case.wants_level else None
            session.add(role)
            client = session.get_one(Client, "shop")
            client.scopes = list(case.client)
            session.add(client)
            for kind, ref in (("role.changed", "some"), ("client.changed", "shop")):
                changes.record(session, kind, ref)
        form = {"resource": case.resource} if case.resource else {}
        answer = await world.token(
            shop, grant_type="password", username="ada", password=PASSWORD,
            scope=" ".join(case.asked), **form,
        )  # fmt: skip
        told = await why.rights(
            world.services, ada.id, "shop",
            scopes=case.asked, resource=case.resource, acr="aal1",
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        granted = {trace.scope for trace in told.scopes if trace.granted}
        assert granted == set(answer.json()["scope"].split()), (case, told)
        for trace in told.scopes:
            assert trace.granted == (trace.withheld is None)
            if trace.withheld == "user":
                assert not trace.everybodys
                assert not any(each.counts for each in trace.roles)
            if trace.withheld == "client":
                assert trace.client is None


async def test_a_lockdown_says_why_and_recent_failures_are_told(world: World) -> None:
    ada = world.user("ada")
    await world.token(grant_type="password", username="ada", password="wrong")
    with world.change() as session:
        stopping.begin(session, "Passwords leaked", False)
    told = await why.sign_in(world.services, ada.id)
    (obstacle,) = told.obstacles
    assert obstacle.reason == "lockdown" and "Passwords leaked" in obstacle.words
    assert [failure.why for failure in told.failures] == ["wrong password"]
    assert (await lockdown.load(world.services.db)).active


async def test_whoever_is_held_up_by_their_address_is_told_apart_from_their_name(
    world: World,
) -> None:
    """Failures count by what is typed, and people type either."""
    ada = world.user("ada", email="ada@example.com")
    for _ in range(2):
        await world.token(grant_type="password", username="Ada@Example.com", password="wrong")
    address = (await world.events("login"))[0].address
    told = await why.sign_in(world.services, ada.id, address=address)
    (obstacle,) = told.obstacles
    assert obstacle.reason == "throttled" and "ada@example.com" in obstacle.words.lower()
    for name, status in (("ada@example.com", 429), ("ada", 200)):
        answer = await world.token(grant_type="password", username=name, password=PASSWORD)
        assert answer.status_code == status, answer.text
