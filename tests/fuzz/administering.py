"""Administrative calls of users and clients of any rights, one after another, against the few
lines in rights.py that say what may never happen."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, note, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlmodel import col, delete, select

from identity.app import create_app
from identity.clock import utcnow
from identity.directory.access.granting import ADMIN, BUILT_IN
from identity.directory.access.table import Role, RoleScope, Scope
from identity.directory.clients.table import Client
from identity.directory.users import accounts as users
from identity.directory.users.table import User
from identity.settings import Settings
from identity.store import changes
from tests.fuzz.rights import ANYBODYS, State, Token, check_act, check_administrators
from tests.proofs import LONG
from tests.serving import running
from tests.transport import served
from tests.world import PASSWORD, Caller, World, bearer, claims_of, granted

ORDERS, STOCK = "https://orders.example.com", "https://stock.example.com"
HOMES = {"orders:read": ORDERS, "stock:read": STOCK, "print": None}
ROLES = {
    "cashier": [],  # nothing of ours, but others go by its name
    "picker": ["orders:read"],
    "stocker": ["stock:read", "print"],
    "people": ["users:read", "users:write"],
    "programs": ["clients:read", "clients:write"],
    "warden": ["roles:read", "roles:write"],
    "checker": ["introspect"],
}
numbers = itertools.count(1)

which = st.sampled_from(range(24))
"""Picks one of those there are, the newest first."""
some_roles = st.lists(
    st.sampled_from(["cashier", "cashier", "picker", "people", ADMIN]), max_size=2, unique=True
)
some_scopes = st.lists(
    st.sampled_from(["orders:read", "print", "users:write", "introspect", "*"]),
    max_size=2,
    unique=True,
)
audiences = st.lists(st.sampled_from([ORDERS, STOCK, "own"]), max_size=1)
status = st.sampled_from(["active", "disabled"])


def pick(listed: Sequence[Any], number: int) -> Any:
    return listed[-1 - number % len(listed)]


class House:
    """One service for all examples; each begins with the same rows."""

    def __init__(self, runner: asyncio.Runner, app: Any, api: httpx.AsyncClient) -> None:
        self._runner = runner
        self.world = World(app, api)
        settings_ = self.world.services.settings
        self.own = settings_.issuer
        self._own_audiences = frozenset((settings_.issuer, settings_.audience))
        self._state: State | None = None
        self.password_hash = self.world.services.hasher.hash(PASSWORD)

    def ask(self, request: Any) -> Any:
        self.forget()
        return self._runner.run(request)

    def state(self) -> State:
        """As it is now; the same object until something is asked of the service."""
        if self._state is None:
            with self.world.services.db.engine.connect() as connection:
                self._state = State.of(connection, self._own_audiences)
        return self._state

    def forget(self) -> None:
        self._state = None

    def ready(self) -> list[str]:
        """The clients whose tokens would not have to wait for the next second."""
        with self.world.change() as session:
            query = select(Client.id).where(Client.good_from <= utcnow()).order_by(Client.id)
            return list(session.exec(query).all())

    def empty(self) -> None:
        self.forget()
        with self.world.change() as session:
            for client in session.exec(select(Client)):
                if client.builtin:
                    client.status, client.scopes, client.audiences = "active", ["*"], []
                    client.good_from = utcnow() - timedelta(seconds=1)
                else:
                    session.delete(client)
                changes.record(session, "client.changed", client.id)
            session.exec(delete(User))
            session.exec(delete(Role).where(col(Role.name) != ADMIN))
            session.exec(delete(Scope).where(col(Scope.builtin).is_(False)))
            session.flush()
            session.add_all(Scope(name=name, audience=home) for name, home in HOMES.items())
            session.add_all(Role(name=name) for name in ROLES)
            session.flush()
            held = {**ROLES, ADMIN: [*HOMES]}
            session.add_all(
                RoleScope(role=r, scope=s) for r, scopes in held.items() for s in scopes
            )
            changes.record(session, "role.changed", "*")
            changes.record(session, "scope.changed", "*")

    def client(self, scopes: Sequence[str], audiences_: Sequence[str]) -> Caller:
        self.forget()
        return self.world.client(f"job{next(numbers)}", scopes=scopes, audiences=audiences_)

    def user(self, roles: Sequence[str]) -> str:
        self.forget()
        user = self.world.user(f"u{next(numbers)}", password_hash=self.password_hash, roles=roles)
        return user.username


class Rights(RuleBasedStateMachine):
    """`tokens` of any age; `secrets` of the clients that have one; `passwords` of users."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house
        self.tokens: list[Token] = []
        self.secrets: dict[str, str] = {}

    @initialize(extra=st.lists(some_roles, min_size=3, max_size=3), scopes=some_scopes,
                audiences_=audiences)  # fmt: skip
    def begin(self, extra: list[list[str]], scopes: list[str], audiences_: list[str]) -> None:
        """An administrator of everything, one of each kind of thing, and a client."""
        self.house.empty()
        caller = self.house.client(
            [scope for scope in scopes if scope != "*"], self._named(audiences_)
        )
        assert caller.secret is not None
        self.secrets[caller.id] = caller.secret
        self._note(self._ask(caller, grant_type="client_credentials"), caller.id, None)
        kinds = ("people", "programs", "warden")
        for held in (
            [ADMIN],
            ["cashier"],
            *({kind, *more} for kind, more in zip(kinds, extra, strict=True)),
        ):
            self._log_in(self.house.user(sorted(held)), "first-party", None, None)

    # --- Getting tokens ----------------------------------------------------------------------

    @rule(user=which, client=which, resource=st.sampled_from([None, ORDERS, "own"]),
          scope=st.none() | some_scopes)  # fmt: skip
    def log_in(self, user: int, client: int, resource: str | None, scope: list[str] | None) -> None:
        state = self.house.state()
        clients = [c for c in self.house.ready() if "password" in state.clients[c]["grants"]]
        if clients:
            username = pick(list(state.users.values()), user)["looks"][3]
            self._log_in(username, pick(sorted(clients), client), resource, scope)

    @rule(client=which, resource=st.sampled_from([None, ORDERS, STOCK]))
    def act_for_itself(self, client: int, resource: str | None) -> None:
        if self.secrets:
            caller = Caller(*pick(list(self.secrets.items()), client))
            form = {"resource": resource} if resource else {}
            if caller.id in self.house.ready():
                answer = self._ask(caller, grant_type="client_credentials", **form)
                self._note(answer, caller.id, None)

    @rule(user=which)
    def change_a_one_time_password(self, user: int) -> None:
        state = self.house.state()
        it = pick(list(state.users.values()), user)
        if it["looks"][2]:
            self._set_hash(it["looks"][3])

    # --- Users -------------------------------------------------------------------------------

    @rule(actor=which, roles=some_roles)
    def create_user(self, actor: int, roles: list[str]) -> None:
        body = {"username": f"u{next(numbers)}", "roles": roles}
        created = self._act(actor, "POST", "/users", body)
        if created is not None:
            self._set_hash(created["username"])

    @rule(actor=which, user=which, roles=some_roles)
    def set_roles(self, actor: int, user: int, roles: list[str]) -> None:
        self._act(actor, "PUT", f"/users/{self._user(user)}/roles", roles)

    @rule(actor=which, user=which)
    def reset_password(self, actor: int, user: int) -> None:
        self._act(actor, "POST", f"/users/{self._user(user)}/password", reset=True)

    @rule(actor=which, user=which, what=st.sampled_from(["email", "username", "name"]))
    def rename(self, actor: int, user: int, what: str) -> None:
        value = f"n{next(numbers)}" + ("@example.com" if what == "email" else "")
        self._act(actor, "PATCH", f"/users/{self._user(user)}", {what: value})

    @rule(actor=which, user=which, status_=status)
    def set_status(self, actor: int, user: int, status_: str) -> None:
        self._act(actor, "PATCH", f"/users/{self._user(user)}", {"status": status_})

    @rule(actor=which, user=which)
    def delete_user(self, actor: int, user: int) -> None:
        self._act(actor, "DELETE", f"/users/{self._user(user)}")

    @rule(actor=which, session=which, all_of_them=st.booleans())
    def log_out(self, actor: int, session: int, all_of_them: bool) -> None:
        sessions = self.house.state().sessions
        if sessions:
            sid, (user, _) = pick(list(sessions.items()), session)
            path = f"/users/{user}/sessions"
            self._act(actor, "DELETE", path if all_of_them else f"{path}/{sid}")

    # --- Clients -----------------------------------------------------------------------------

    @rule(actor=which, scopes=some_scopes, audiences_=audiences, login=st.booleans(),
          like=st.none() | which)  # fmt: skip
    def register(self, actor: int, scopes: list[str], audiences_: list[str], login: bool,
                 like: int | None) -> None:  # fmt: skip
        """`like`: under the id of a user."""
        grants = ["password", "refresh_token"] if login else ["client_credentials"]
        body: dict[str, Any] = {"name": "X", "scopes": scopes, "grants": grants}
        body["audiences"] = self._named(audiences_)
        if like is not None:
            body["id"] = self._user(like)
        made = self._act(actor, "POST", "/clients", body)
        if made is not None:
            self.secrets[made["id"]] = made["client_secret"]

    @rule(actor=which, client=which,
          change=st.fixed_dictionaries({}, optional={"scopes": some_scopes,
              "audiences": audiences, "status": status, "name": st.just("Y")}))  # fmt: skip
    def change_client(self, actor: int, client: int, change: dict[str, Any]) -> None:
        if "audiences" in change:
            change = change | {"audiences": self._named(change["audiences"])}
        self._act(actor, "PATCH", f"/clients/{self._client(client)}", change)

    @rule(actor=which, client=which)
    def make_secret(self, actor: int, client: int) -> None:
        name = self._client(client)
        made = self._act(actor, "POST", f"/clients/{name}/secrets")
        if made is not None:
            self.secrets[name] = made["secret"]

    @rule(actor=which, client=which, secret=which)
    def delete_secret(self, actor: int, client: int, secret: int) -> None:
        name = self._client(client)
        secrets = sorted(self.house.state().clients[name]["secrets"])
        if secrets:
            self._act(actor, "DELETE", f"/clients/{name}/secrets/{pick(secrets, secret)}")

    @rule(actor=which, client=which)
    def delete_client(self, actor: int, client: int) -> None:
        self._act(actor, "DELETE", f"/clients/{self._client(client)}")

    # --- Roles and scopes --------------------------------------------------------------------

    @rule(actor=which, scopes=some_scopes)
    def make_role(self, actor: int, scopes: list[str]) -> None:
        body = {"name": f"r{next(numbers)}", "scopes": scopes}
        self._act(actor, "POST", "/roles", body)

    @rule(actor=which, role=st.sampled_from([*ROLES, ADMIN]), scopes=some_scopes)
    def change_role(self, actor: int, role: str, scopes: list[str]) -> None:
        self._act(actor, "PATCH", f"/roles/{role}", {"scopes": scopes})

    @rule(actor=which, role=st.sampled_from([*ROLES, ADMIN]))
    def delete_role(self, actor: int, role: str) -> None:
        self._act(actor, "DELETE", f"/roles/{role}")

    @rule(actor=which, audience=st.sampled_from([None, ORDERS, "own"]))
    def make_scope(self, actor: int, audience: str | None) -> None:
        body = {"name": f"s{next(numbers)}", "audience": self._named([audience])[0]}
        self._act(actor, "POST", "/scopes", body)

    @rule(actor=which, scope=st.sampled_from([*HOMES, "introspect"]),
          audience=st.sampled_from([None, ORDERS, STOCK]))  # fmt: skip
    def move_scope(self, actor: int, scope: str, audience: str | None) -> None:
        self._act(actor, "PATCH", f"/scopes/{scope}", {"audience": audience})

    @rule(actor=which, scope=st.sampled_from([*HOMES, "users:write"]))
    def delete_scope(self, actor: int, scope: str) -> None:
        self._act(actor, "DELETE", f"/scopes/{scope}")

    # --- Looking at tokens -------------------------------------------------------------------

    @rule(client=which, token=which, refresh=st.booleans())
    def introspect(self, client: int, token: int, refresh: bool) -> None:
        """Nobody below sees tokens of others."""
        asked: Token = pick(self.tokens, token)
        text = asked.refresh_token if refresh else asked.text
        if not self.secrets or text is None:
            return
        caller = Caller(*pick(list(self.secrets.items()), client))
        state = self.house.state()
        api = self.house.world.api
        answer = self.house.ask(api.post("/introspect", data={"token": text}, headers=caller.basic))
        if answer.status_code == 200 and answer.json()["active"]:
            it = state.clients[caller.id]
            theirs = asked.client == caller.id or "introspect" in it["scopes"]
            assert theirs or (not refresh and asked.audience in it["audiences"]), (caller.id, asked)
            said = {("scope", s) for s in answer.json()["scope"].split() if s in BUILT_IN}
            assert state.held(asked) >= said - ANYBODYS

    # --- How it is done ----------------------------------------------------------------------

    def _act(self, actor: int, method: str, path: str, body: Any = None, *,
             reset: bool = False) -> Any:  # fmt: skip
        """The answer's document where the act was done, and nothing happened that never may."""
        token: Token = pick(self.tokens, actor)
        before = self.house.state()
        held = before.held(token)
        more = {"json": body} if body is not None else {}
        answer = self.house.ask(
            self.house.world.api.request(method, path, headers=bearer(token.text), **more)
        )
        note(f"{answer.status_code} {method} {path} {body} by {sorted(held)}")
        after = self.house.state()
        assert answer.status_code < 500, answer.text
        if not answer.is_success:
            assert after == before, "what was refused was done in part"
            return None
        check_act(before, after, held)
        check_administrators(before, after, reset=reset)
        return answer.json() if answer.content else {}

    def _ask(self, caller: Caller | None, **form: str) -> httpx.Response:
        answer: httpx.Response = self.house.ask(self.house.world.token(caller, **form))
        return answer

    def _log_in(self, username: str, client: str, resource: str | None,
                scope: list[str] | None) -> None:  # fmt: skip
        form = {"grant_type": "password", "username": username, "password": PASSWORD}
        # By name, so that it is all that the user holds whatever is given without asking.
        names = sorted(self.house.state().homes) if scope is None else scope
        form["scope"] = " ".join(name for name in names if name != "*")
        if resource:
            form["resource"] = self._named([resource])[0]
        answer = self._ask(Caller(client, self.secrets.get(client)), **form)
        self._note(answer, client, username)

    def _note(self, answer: httpx.Response, client: str, user: str | None) -> None:
        if answer.status_code != 200:
            return
        tokens = granted(answer)
        claims = claims_of(tokens["access_token"])
        self.tokens.append(
            Token(
                tokens["access_token"], client, claims["sub"] if user else None,
                frozenset(tokens["scope"].split()), claims["aud"], claims.get("sid"),
                tokens.get("refresh_token"),
            )
        )  # fmt: skip
        note(f"token {len(self.tokens)} of {user or client}: {tokens['scope']}")

    def _set_hash(self, username: str) -> None:
        """As who was told the password would do it."""
        self.house.forget()
        with self.house.world.change() as session:
            user = users.find_by_login(session, username)
            if user is not None:
                user.password_hash, user.must_change_password = self.house.password_hash, False
                session.add(user)
                changes.record(session, "user.changed", user.id)

    def _named(self, audiences_: Sequence[Any]) -> list[Any]:
        return [self.house.own if name == "own" else name for name in audiences_]

    def _user(self, number: int) -> str:
        return str(pick(list(self.house.state().users), number))

    def _client(self, number: int) -> str:
        return str(pick(list(self.house.state().clients), number))


@contextmanager
def housed(config: Settings) -> Iterator[House]:
    """The service in this process, with these settings."""
    with asyncio.Runner() as runner:
        app = create_app(config)
        started = running(app)
        runner.run(started.__aenter__())
        api = httpx.AsyncClient(transport=served(app), base_url=config.issuer)
        try:
            yield House(runner, app, api)
        finally:
            runner.run(api.aclose())
            runner.run(started.__aexit__(None, None, None))


def search(
    house: House, examples: int, *, shrink: bool = LONG, chosen: int | None = None,
    steps: int = 60 if LONG else 30,
) -> None:  # fmt: skip
    """`chosen`: the seed of what is done, always the same without one; any, for as long as one
    likes, in `make fuzz`."""

    def machine() -> Rights:
        return Rights(house)

    run_state_machine_as_test(
        machine if chosen is None else seed(chosen)(machine),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=not LONG and chosen is None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        ),
    )
