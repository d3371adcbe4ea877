"""Status lists over HTTP: what ends a token sets its bit, and nobody else's."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import jwt
import pytest
from sqlmodel import select

from identity import clock
from identity.app import create_app
from identity.directory.access import editing
from identity.directory.clients import accounts as clients
from identity.directory.users import accounts
from identity.keys import rotation
from identity.keys.material import prepare
from identity.oauth.grants.registry import GRANTS
from identity.store import changes
from identity.store.table import Change
from identity.tokens.sessions import lifecycle, of_clients
from identity.tokens.status.reserving import prune
from identity.tokens.status.table import BLOCK, StatusBlock
from tests.serving import running
from tests.tokens.status.decoding import SIZE, Reader, bits_of, opened, reference
from tests.transport import served
from tests.world import Caller, World, claims_of

pytestmark = pytest.mark.anyio
AGAIN = 1.0  # seconds after which a changed list is made again


def test_the_decoder_reads_the_drafts_own_example() -> None:
    """§4.1: sixteen tokens."""
    bits = bits_of("eNrbuRgAAhcBXQ")
    assert [bits >> n & 1 for n in range(16)] == [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]


@dataclass
class Scene:
    """Users and clients with live tokens, by name."""

    world: World
    users: dict[str, str] = field(default_factory=dict)
    callers: dict[str, Caller] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    refresh: dict[str, str] = field(default_factory=dict)
    before_rotation: set[str] = field(default_factory=set)

    async def set_up(self) -> None:
        world = self.world
        world.scopes("read", "write", role="clerk")
        world.scopes("print", role="printer")
        world.scopes("look", role="visitor")
        for name in ("shop", "desk"):
            self.callers[name] = world.client(name, scopes=["read", "write", "print", "look"])
        for name in ("job", "cron"):
            self.callers[name] = world.client(name, scopes=["read", "write"])
        for name in ("ada", "bob"):
            self.users[name] = world.user(name, roles=["clerk", "printer"]).id
        self.users["eve"] = world.user("eve", roles=["visitor"]).id
        for user, at in (("ada", "shop"), ("ada", "desk"), ("bob", "shop"), ("eve", "desk")):
            await self.log_in(user, at)
            await self.refreshed(f"{user}@{at}")
        for name in ("job", "cron"):
            for n in range(3):
                self.tokens[f"{name} {n}"] = (await world.act(self.callers[name]))["access_token"]

    async def log_in(self, user: str, at: str) -> None:
        answer = await self.world.log_in(user, client=self.callers[at])
        self.tokens[f"{user}@{at} 0"] = answer["access_token"]
        self.refresh[f"{user}@{at}"] = answer["refresh_token"]

    async def refreshed(self, login: str) -> None:
        caller = self.callers[login.partition("@")[2]]
        answer = (await self.world.refresh(self.refresh[login], caller)).json()
        self.tokens[f"{login} 1"] = answer["access_token"]
        self.refresh[login] = answer["refresh_token"]

    def named(self, *beginnings: str) -> set[str]:
        return {name for name in self.tokens if name.startswith(beginnings)}


async def _token(scene: Scene) -> set[str]:
    await scene.world.revoke(scene.tokens["ada@shop 0"], scene.callers["shop"])
    return {"ada@shop 0"}


async def _client_token(scene: Scene) -> set[str]:
    await scene.world.revoke(scene.tokens["job 1"], scene.callers["job"])
    return {"job 1"}


async def _session(scene: Scene) -> set[str]:
    await scene.world.revoke(scene.refresh["ada@shop"], scene.callers["shop"])
    return scene.named("ada@shop")


async def _replay(scene: Scene) -> set[str]:
    spent = scene.refresh["bob@shop"]
    for _ in range(2):
        await scene.refreshed("bob@shop")
    answer = await scene.world.refresh(spent, scene.callers["shop"])
    assert answer.status_code == 400
    return scene.named("bob@shop")


async def _user_disabled(scene: Scene) -> set[str]:
    with scene.world.change() as session:
        user = accounts.get(session, scene.users["ada"], lock=True)
        accounts.set_status(session, user, "disabled", None)
        lifecycle.end_all(session, "disabled", user_id=user.id)
    return scene.named("ada")


async def _user_deleted(scene: Scene) -> set[str]:
    """Her sessions go with her row, and the bits must not."""
    with scene.world.change() as session:
        user = accounts.get(session, scene.users["ada"], lock=True)
        lifecycle.end_all(session, "deleted", user_id=user.id)
        accounts.remove(session, user, None)
    return scene.named("ada")


async def _client_disabled(scene: Scene) -> set[str]:
    _set_status(scene, "shop", "disabled")
    return scene.named("ada@shop", "bob@shop")


async def _acting_client_disabled(scene: Scene) -> set[str]:
    _set_status(scene, "job", "disabled")
    return scene.named("job")


async def _client_deleted(scene: Scene) -> set[str]:
    for name in ("shop", "cron"):
        with scene.world.change() as session:
            of_clients.remove(session, clients.get(session, name, lock=True), None)
    return scene.named("ada@shop", "bob@shop", "cron")


async def _key(scene: Scene) -> set[str]:
    """A token of each kind from after a rotation stays good."""
    world = scene.world
    dead = scene.named("")
    old = claims_kid(scene.tokens["job 0"])
    with world.change() as session:
        made = prepare("ES256", world.services.master)
        rotation.rotate(session, world.services.settings, made, now=True)
    scene.tokens["job new"] = (await world.act(scene.callers["job"]))["access_token"]
    await scene.log_in("bob", "desk")
    with world.change() as session:
        made = prepare("ES256", world.services.master)
        rotation.revoke(session, world.services.settings, old, made)
    return dead


ENDS: list[Callable[[Scene], Awaitable[set[str]]]] = [
    _token, _client_token, _session, _replay, _user_disabled, _user_deleted,
    _client_disabled, _acting_client_disabled, _client_deleted, _key,
]  # fmt: skip


async def _user_loses_a_role(scene: Scene) -> set[str]:
    with scene.world.change() as session:
        user = accounts.get(session, scene.users["ada"])
        accounts.set_roles(session, user, ["clerk"], None)
    return scene.named("ada")


async def _role_loses_a_scope(scene: Scene) -> set[str]:
    with scene.world.change() as session:
        role = editing.get_role(session, "clerk", lock=True)
        editing.update_role(session, role, {"scopes": ["read"]}, None)
    return scene.named("ada", "bob")


async def _role_deleted(scene: Scene) -> set[str]:
    with scene.world.change() as session:
        accounts.lose_role(session, "printer")
        editing.remove_role(session, editing.get_role(session, "printer"), None)
    return scene.named("ada", "bob")


async def _scope_deleted(scene: Scene) -> set[str]:
    with scene.world.change() as session:
        clients.lose_scope(session, "write")
        editing.remove_scope(session, editing.get_scope(session, "write"), None)
    return scene.named("")


async def _client_loses_a_scope(scene: Scene) -> set[str]:
    for name in ("job", "shop"):
        with scene.world.change() as session:
            client = clients.get(session, name, lock=True)
            clients.update(session, client, {"scopes": ["read"]}, known_grants=GRANTS, held=None)
    return scene.named("job", "ada@shop", "bob@shop")


NARROWS: list[Callable[[Scene], Awaitable[set[str]]]] = [
    _user_loses_a_role, _role_loses_a_scope, _role_deleted, _scope_deleted, _client_loses_a_scope,
]  # fmt: skip


def _set_status(scene: Scene, client_id: str, status: str) -> None:
    with scene.world.change() as session:
        client = clients.get(session, client_id, lock=True)
        clients.update(session, client, {"status": status}, known_grants=GRANTS, held=None)
        if status == "disabled":
            lifecycle.end_all(session, "client disabled", client_id=client_id)


def claims_kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def shown(reader: Reader, scene: Scene) -> set[str]:
    names = list(scene.tokens)
    flags = await reader.revoked(*scene.tokens.values())
    return {name for name, revoked in zip(names, flags, strict=True) if revoked}


async def told(scene: Scene) -> set[str]:
    """The tokens that are dead by the entries of `GET /revocations`, as its contract has them."""
    sibling = scene.callers.get("sibling") or scene.world.client("sibling", scopes=["introspect"])
    scene.callers["sibling"] = sibling
    entries = (await scene.world.api.get("/revocations", headers=sibling.basic)).json()["entries"]
    dead = set()
    for name, token in scene.tokens.items():
        claims = claims_of(token)
        named = {
            "token": claims["jti"], "session": claims.get("sid"), "subject": claims["sub"],
            "client": claims["client_id"], "key": claims_kid(token),
        }  # fmt: skip
        for entry in entries:
            before = entry["kind"] not in ("subject", "client") or claims["iat"] < int(entry["at"])
            if named[entry["kind"]] == entry["ref"] and before:
                dead.add(name)
    return dead


@pytest.fixture
async def scene(world: World) -> Scene:
    scene = Scene(world)
    await scene.set_up()
    return scene


@pytest.fixture
async def late(scene: Scene, settings: Any) -> AsyncIterator[Reader]:
    """It asks another process, which hears of what happens and has read no list before."""
    app = create_app(settings)
    transport = served(app)
    async with (
        running(app),
        httpx.AsyncClient(transport=transport, base_url=settings.issuer) as api,
    ):
        yield Reader(api)


@pytest.mark.parametrize("act", ENDS, ids=lambda act: act.__name__.strip("_"))
async def test_what_ends_tokens_sets_their_bits_and_no_others(
    scene: Scene, api: httpx.AsyncClient, late: Reader, act: Any
) -> None:
    """By a list that a process has in memory, and by one that it reads only then. What
    `GET /revocations` tells and what introspection answers agree with it."""
    reader = Reader(api)
    assert await shown(reader, scene) == set()
    later = clock.utcnow() + timedelta(seconds=2)  # so that whole seconds tell before from after
    with clock.frozen(later) as frozen:
        dead = await act(scene)
        frozen.tick(AGAIN)
        assert await shown(reader, scene) == dead
        assert await shown(late, scene) == dead
        assert await told(scene) == dead
        for name, token in scene.tokens.items():
            assert await scene.world.active(token) == (name not in dead), name


@pytest.mark.parametrize("act", NARROWS, ids=lambda act: act.__name__.strip("_"))
async def test_tokens_that_say_too_much_now_are_shown_too(
    scene: Scene, api: httpx.AsyncClient, late: Reader, act: Any
) -> None:
    """Introspection can take the scope away; a list can only send for a new token."""
    reader = Reader(api)
    assert await shown(reader, scene) == set()
    with clock.frozen(clock.utcnow() + timedelta(seconds=2)) as frozen:
        dead = await act(scene)
        frozen.tick(AGAIN)
        assert await shown(reader, scene) == await shown(late, scene) == dead
        assert await told(scene) == dead
        await scene.refreshed("ada@shop")
        scene.tokens["job 1"] = (await scene.world.act(scene.callers["job"]))["access_token"]
        new = {"ada@shop 1", "job 1"}
        assert await shown(reader, scene) == await told(scene) == dead - new
        assert await shown(late, scene) == dead - new


@pytest.mark.parametrize("left", [20, -20])
@pytest.mark.parametrize("act", [_session, _user_disabled, *NARROWS[:2], NARROWS[-1]])
async def test_what_ends_about_when_it_expires_is_shown_to_verifiers_whose_clocks_differ(
    scene: Scene, api: httpx.AsyncClient, act: Any, left: int
) -> None:
    """They may take it for half a minute longer. `left`: seconds until it expires by our clock."""
    reader = Reader(api)
    assert await shown(reader, scene) == set()
    expires = max(int(claims_of(token)["exp"]) for token in scene.tokens.values())
    with clock.frozen(datetime.fromtimestamp(expires - left, UTC)) as frozen:
        dead = {name for name in await act(scene) if not name.startswith("job")}
        frozen.tick(AGAIN)
        assert dead <= await shown(reader, scene) <= dead | scene.named("job")


async def test_of_a_user_without_a_token_that_lives_nobody_is_told(world: World) -> None:
    """Thousands who lose a role are no news where a few have logged in."""
    scene = Scene(world)
    await scene.set_up()
    with clock.frozen(clock.utcnow() + timedelta(hours=1)):
        assert await _user_loses_a_role(scene)
        assert await _role_loses_a_scope(scene)
        assert await told(scene) == set()
    with world.change() as session:
        kinds = session.exec(select(Change.kind)).all()
        assert not {"user.narrowed", "role.narrowed"} & {*kinds}


async def test_a_client_enabled_again_gets_good_tokens_and_its_old_ones_stay_dead(
    scene: Scene, api: httpx.AsyncClient
) -> None:
    reader = Reader(api)
    old = scene.named("job")
    _set_status(scene, "job", "disabled")
    with clock.frozen(clock.utcnow() + timedelta(seconds=2)):
        _set_status(scene, "job", "active")
        scene.tokens["job new"] = (await scene.world.act(scene.callers["job"]))["access_token"]
        assert await shown(reader, scene) == old
        for name in old | {"job new"}:
            assert await scene.world.active(scene.tokens[name]) == (name == "job new")


async def test_a_list_says_what_the_draft_wants(
    world: World, api: httpx.AsyncClient, settings: Any
) -> None:
    token = (await world.act(world.client("job", scopes=[])))["access_token"]
    uri, index = reference(token)
    assert uri.startswith(settings.issuer + "/status-lists/")
    assert 0 <= index < SIZE
    keys = (await api.get("/.well-known/jwks.json")).json()
    answer = await api.get(uri, headers={"accept": "application/statuslist+jwt"})
    claims = opened(answer, keys, uri)
    assert claims["iss"] == settings.issuer
    assert claims["ttl"] == 5
    assert claims["iat"] + 60 < claims["exp"] <= claims["iat"] + 600
    metadata = (await api.get("/.well-known/oauth-authorization-server")).json()
    assert claims["status_list"]["aggregation_uri"] == metadata["status_list_aggregation_endpoint"]
    aggregation = await api.get(metadata["status_list_aggregation_endpoint"])
    assert aggregation.headers["content-type"] == "application/json"
    assert aggregation.json() == {"status_lists": [uri]}
    for published in (answer, aggregation):
        assert published.headers["cache-control"] == "public, max-age=5"
        assert published.headers["access-control-allow-origin"] == "*"


async def test_a_list_that_did_not_change_is_not_sent_again(
    world: World, api: httpx.AsyncClient
) -> None:
    client = world.client("job", scopes=[])
    token = (await world.act(client))["access_token"]
    uri, _ = reference(token)
    with clock.frozen((clock.utcnow() + timedelta(minutes=1)).replace(second=5)) as frozen:
        first = await api.get(uri)
        etag = {"if-none-match": first.headers["etag"]}
        frozen.tick(20)
        again = await api.get(uri, headers=etag)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        whole = await api.get(uri)
        assert claims_of(whole.text)["iat"] == claims_of(first.text)["iat"] + 20
        await world.revoke(token, client)
        frozen.tick(1)
        changed = await api.get(uri, headers=etag)
        assert changed.status_code == 200
        frozen.tick(60)  # long before a kept copy expires
        etag = {"if-none-match": changed.headers["etag"]}
        assert (await api.get(uri, headers=etag)).status_code == 200


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/statuslist+jwt", 200),
        ("application/statuslist+cwt, application/statuslist+jwt;q=0.5", 200),
        ("text/html, application/*;q=0.1", 200),
        ("*/*", 200),
        ("", 200),
        ("application/statuslist+cwt", 406),
        ("*/*, application/statuslist+jwt;q=0", 406),
        ("text/html", 406),
    ],
)
async def test_it_comes_as_jwt_or_not_at_all(
    world: World, api: httpx.AsyncClient, accept: str, status: int
) -> None:
    uri, _ = reference((await world.act(world.client("job", scopes=[])))["access_token"])
    assert (await api.get(uri, headers={"accept": accept})).status_code == status


@pytest.mark.parametrize("name", ["0", "2", "01", "-1", "1.0", "one", "1e9", "9" * 30, "%00", "١"])
async def test_there_are_no_other_lists(world: World, api: httpx.AsyncClient, name: str) -> None:
    await world.act(world.client("job", scopes=[]))
    assert (await api.get(f"/status-lists/{name}")).status_code == 404


async def test_a_list_whose_tokens_have_all_expired_is_gone(
    world: World, api: httpx.AsyncClient
) -> None:
    client = world.client("job", scopes=[])
    uri, _ = reference((await world.act(client))["access_token"])
    with clock.frozen(clock.utcnow() + timedelta(hours=1, minutes=14)) as frozen:
        assert (await api.get(uri)).status_code == 200
        frozen.tick(180)
        assert (await api.get(uri)).status_code == 404
        assert (await api.get("/status-lists")).json() == {"status_lists": []}
        with world.change() as session:
            prune(session)
            # The newest list's places stay taken for good.
            assert session.exec(select(StatusBlock)).all()
            session.add(
                StatusBlock(list_id=2, number=0, kid="k", born=0, expires_at=clock.utcnow())
            )
            session.flush()
            prune(session)
            assert [block.list_id for block in session.exec(select(StatusBlock))] == [2]


async def test_indices_tell_neither_how_many_tokens_there_are_nor_their_order(
    world: World, api: httpx.AsyncClient
) -> None:
    client = world.client("job", scopes=[])
    tokens = [(await world.act(client))["access_token"] for _ in range(40)]
    indices = [reference(token)[1] for token in tokens]
    assert len(set(indices)) == 40
    assert indices != sorted(indices)
    assert sum(b - a == 1 for a, b in pairwise(indices)) < 10
    reader = Reader(api)
    uri = reference(tokens[0])[0]
    assert await reader.bits(uri) == 0
    world.delete_client("job")
    with world.change() as session:
        changes.record(session, "client.revoked", "job")
    with clock.frozen(clock.utcnow() + timedelta(seconds=AGAIN)):
        bits = await reader.bits(uri)
    assert bits.bit_count() % BLOCK == 0  # whole blocks, used or not
    assert all(bits >> index & 1 for index in indices)
