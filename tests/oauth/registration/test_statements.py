"""Software statements (RFC 7591 §2.3): what a trusted issuer says of a program wins over what it
says of itself, and lets it in where otherwise a token does."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from identity.app import create_app
from identity.clock import now
from identity.directory.clients.registrations import PER_NETWORK
from identity.directory.issuers import editing
from tests.acting import admin
from tests.serving import running
from tests.signing import Signer
from tests.signing import said as assertion
from tests.world import World, bearer, refused

VENDOR = "https://vendor.example"
CALLBACK = "https://notes.example/callback"
STATED = {
    "iss": VENDOR, "software_id": "notes", "software_version": "1.2",
    "client_name": "Notes of the Vendor", "redirect_uris": [CALLBACK],
}  # fmt: skip
OTHER = "https://notes.example/other"
SIGNER = Signer()


@pytest.fixture
def how() -> str:
    return "token"


@pytest.fixture
async def app(make_settings: Callable[..., Any], how: str) -> AsyncIterator[Any]:
    app = create_app(make_settings(registration=how, registration_most=60))
    async with running(app):
        yield app


@pytest.fixture(autouse=True)
def vendor(world: World) -> None:
    trust(world)


def trust(world: World, issuer: str = VENDOR, **chosen: Any) -> None:
    chosen = {"jwks": SIGNER.jwks, "software_statements": True, **chosen}
    ours = world.services.settings.issuer
    with world.change() as session:
        editing.create(session, issuer=issuer, chosen=chosen, own_issuer=ours, held=None)


def change(world: World, **fields: Any) -> None:
    with world.change() as session:
        found = editing.get(session, VENDOR, lock=True)
        editing.update(session, found, fields, own_issuer="x", held=None)


def statement(signer: Signer = SIGNER, header: Any = None, **changed: Any) -> str:
    return signer.sign({**STATED, **changed}, **(header or {}))


async def register(world: World, text: Any, **said: Any) -> httpx.Response:
    return await world.api.post("/register", json={"software_statement": text, **said})


async def registered(world: World, text: str, **said: Any) -> dict[str, Any]:
    answer = await register(world, text, **said)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def put(world: World, client: dict[str, Any], **changed: Any) -> httpx.Response:
    ours = {"registration_access_token", "registration_client_uri", "client_id_issued_at",
            "client_secret_expires_at"}  # fmt: skip
    said = {name: value for name, value in client.items() if name not in ours} | changed
    return await world.api.put(
        client["registration_client_uri"],
        headers=bearer(client["registration_access_token"]),
        json={name: value for name, value in said.items() if value is not None},
    )


@pytest.mark.parametrize("how", ["token", "open"])
async def test_what_the_issuer_says_wins_and_comes_back_as_it_came(world: World, how: str) -> None:
    text = statement()
    client = await registered(
        world, text, client_name="Bank", redirect_uris=[OTHER], contacts=["ops@notes.example"]
    )
    assert client["client_name"] == "Notes of the Vendor"
    assert client["redirect_uris"] == [CALLBACK]
    assert client["contacts"] == ["ops@notes.example"]  # of which the issuer says nothing
    assert client["software_statement"] == text
    shown = await world.api.get(
        client["registration_client_uri"], headers=bearer(client["registration_access_token"])
    )
    assert shown.json()["software_statement"] == text


async def test_nobody_gets_in_without_a_token_or_a_statement(world: World) -> None:
    answer = await world.api.post("/register", json={"redirect_uris": [CALLBACK]})
    assert answer.status_code == 401 and "Bearer" in answer.headers["www-authenticate"]
    boss = await admin(world)
    made = await boss.done("POST", "/register", {"software_statement": statement()})
    assert made["redirect_uris"] == [CALLBACK]


async def test_such_a_client_may_be_confidential_and_is_nobody_elses_but_small(
    world: World,
) -> None:
    client = await registered(
        world, statement(token_endpoint_auth_method="client_secret_basic"), scope="openid"
    )
    assert client["client_secret"]
    keyed = Signer("ES256", "theirs")
    method = {"token_endpoint_auth_method": "private_key_jwt", "jwks": keyed.jwks}
    client = await registered(world, statement(**method))
    assert client["token_endpoint_auth_method"] == "private_key_jwt"
    # What only administrators decide, no issuer does.
    client = await registered(
        world, statement(first_party=True, pkce="optional", claims={"openid": {"a": "b"}})
    )
    shown = await (await admin(world)).done("GET", f"/clients/{client['client_id']}")
    assert (shown["first_party"], shown["pkce"], shown["claims"]) == (False, "required", {})
    assert shown["self_registered"] is True
    for beyond in ({"scope": "users:read"}, {"grant_types": ["client_credentials"]}):
        refused(await register(world, statement(**beyond)), 400, "invalid_client_metadata")


async def test_what_was_said_of_a_client_it_cannot_change_afterwards(world: World) -> None:
    client = await registered(world, statement())
    answer = await put(
        world, client, redirect_uris=[OTHER], client_name="Bank", software_statement=None
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["client_name"], changed["redirect_uris"]) == ("Notes of the Vendor", [CALLBACK])
    assert changed["software_statement"] == client["software_statement"]
    # A newer one may say something else.
    newer = statement(redirect_uris=[CALLBACK, OTHER], software_version="1.3")
    changed = (await put(world, changed, software_statement=newer)).json()
    assert changed["redirect_uris"] == [CALLBACK, OTHER]
    # Once nobody trusts the issuer, nothing can be changed by its word.
    change(world, software_statements=False)
    answer = await put(world, changed, contacts=["ops@notes.example"])
    refused(answer, 400, "unapproved_software_statement")


async def test_whose_word_does_not_count(world: World) -> None:
    refused(await register(world, statement(iss="https://nobody.example")), 400,
            "unapproved_software_statement")  # fmt: skip
    trust(world, "https://cluster.example", software_statements=False)
    refused(await register(world, statement(iss="https://cluster.example")), 400,
            "unapproved_software_statement")  # fmt: skip
    change(world, status="disabled")
    refused(await register(world, statement()), 400, "unapproved_software_statement")


async def test_what_is_no_statement(world: World) -> None:
    ours, at = world.services.settings.issuer, int(now())
    wrong: list[Any] = [
        7, "", "x.y.z", ["x"], {"iss": VENDOR},
        statement(Signer("ES256", "one")),
        statement(header={"alg": "none"}), statement(header={"typ": "at+jwt"}),
        statement(header={"typ": "dpop+jwt"}),
        statement(exp=at - 100), statement(nbf=at + 100), statement(exp="never"),
        statement(aud="https://elsewhere.example"), statement(aud=[ours, "https://b.example"]),
        statement(iss=None), statement(software_id=None), statement(software_id=7),
        # What the same issuer signs of programs and people is none.
        SIGNER.sign(assertion("notes", ours, iss=VENDOR)),
    ]  # fmt: skip
    for text in wrong:
        answer = await register(world, text, redirect_uris=[CALLBACK])
        refused(answer, 400, "invalid_software_statement")
    for good in (statement(exp=at + 10**9), statement(aud=ours), statement(aud=[ours], nbf=at)):
        await registered(world, good)


async def test_a_statement_is_no_secret_so_not_many_come_from_one_network(world: World) -> None:
    for _ in range(PER_NETWORK):
        await registered(world, statement())
    answer = await register(world, statement())
    assert answer.status_code == 429


@pytest.mark.parametrize("how", ["off"])
async def test_switched_off_it_is_off(world: World, how: str) -> None:
    assert (await register(world, statement())).status_code == 404
