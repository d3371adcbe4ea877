"""Passkeys: what a page elsewhere, a copy, a thief of an answer and another user get. Nothing."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from identity import clock
from identity.authentication.passkeys.errors import PasskeyRefused
from tests.attacks.rules import without
from tests.authenticators import UP, Authenticator, encoded, given_passkey, with_passkey
from tests.world import World

PROVING = "identity.authentication.passkeys.proving"
CEREMONIES = "identity.authentication.passkeys.ceremonies"
CHALLENGES = "identity.authentication.passkeys.challenges:Challenges"
HERE = "browser"


@pytest.fixture
def settings(make_settings: Callable[..., Any]) -> Any:
    return make_settings(issuer="http://localhost:8000")


async def shown(
    world: World, key: Authenticator, user_id: str | None = None, **lies: Any
) -> str | None:
    """Whom an answer of this key signs in; None: nobody."""
    options = world.services.passkeys.ask(HERE)
    return await answered(world, key.sign(options, **lies), user_id)


async def answered(world: World, credential: Any, user_id: str | None = None) -> str | None:
    passkeys = world.services.passkeys
    try:
        found = await passkeys.show(json.dumps(credential), HERE, user_id)
        await world.services.db.write_plain(lambda work: passkeys.log_in(work, found))
    except PasskeyRefused:
        return None
    return found.user_id


@without(
    f"{CEREMONIES}:_check_signed", "list(party.origins)", "[*party.origins, 'http://e.example']"
)
async def test_a_page_elsewhere(world: World) -> None:
    _, key = await with_passkey(world)
    assert await shown(world, key, origin="http://e.example") is None


@without(f"{CEREMONIES}:_read", 'told.get("crossOrigin", False) is not False', "False")
async def test_a_page_of_ours_within_anothers(world: World) -> None:
    _, key = await with_passkey(world)
    assert await shown(world, key, crossOrigin=True) is None


@without(
    f"{CEREMONIES}:_check_signed",
    "require_user_verification=True",
    "require_user_verification=False",
)
async def test_a_key_that_was_found_and_is_not_unlocked(world: World) -> None:
    _, key = await with_passkey(world)
    assert await shown(world, key, flags=UP) is None


@without(f"{CHALLENGES}.check", "not any(hmac", "False and any(hmac")
async def test_a_challenge_that_the_thief_made(world: World) -> None:
    _, key = await with_passkey(world)
    made = round(clock.now() * 1000).to_bytes(6) + bytes(48)
    assert await shown(world, key, challenge=encoded(made)) is None


@without(f"{PROVING}:Passkeys._check", "await self.challenges.use(answer.challenge)", "pass")
async def test_an_answer_that_was_seen_on_its_way(world: World) -> None:
    user, key = await with_passkey(world)
    credential = key.sign(world.services.passkeys.ask(HERE))
    assert await answered(world, credential) == user.id
    assert await answered(world, credential) is None


@without(f"{PROVING}:_check_owner", "owner != user_id", "False")
async def test_ones_own_passkey_beside_anothers_password(world: World) -> None:
    user = world.user()
    await given_passkey(world, user)
    _, hers = await with_passkey(world, "eve")
    hers.user_handle = b""
    assert await shown(world, hers, user.id) is None


@without(f"{PROVING}:_check_owner", "answer.user_handle != owner", "False")
async def test_a_key_that_says_it_is_anothers(world: World) -> None:
    user = world.user()
    _, hers = await with_passkey(world, "eve")
    hers.user_handle = user.id.encode()
    assert await shown(world, hers) is None


@without(f"{PROVING}:Passkeys.settle", 'raise DoubtedPasskey("its counter fell")', "return")
async def test_a_copy_of_before(world: World) -> None:
    user = world.user()
    key = await given_passkey(world, user, Authenticator(counts=True))
    key.count = 5
    assert await shown(world, key) == user.id
    key.count = 3
    assert await shown(world, key) is None
    key.count = 9
    assert await shown(world, key) is None


@without(
    f"{PROVING}:Passkeys._check", "said.backup_eligible != bool(known.backup_eligible)", "False"
)
async def test_a_key_that_could_not_be_copied_and_now_can(world: World) -> None:
    key = await given_passkey(world, world.user(), Authenticator(synced=False))
    key.synced = True
    assert await shown(world, key) is None
