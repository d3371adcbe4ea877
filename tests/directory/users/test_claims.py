"""Which claims of a user a scope releases."""

from datetime import UTC, datetime
from typing import Any

import pytest

from identity.directory.users import claim_names
from identity.directory.users.claims import SCOPES, released
from identity.directory.users.snapshot import UserSnapshot, load
from tests.world import KNOWN, World

PROFILE = KNOWN | {
    "attributes": {"department": "Analysis", "teams": ["a"], "sworn": False, "level": 0},
}
EVERYTHING = [*SCOPES, "openid", "orders:read"]


async def snapshot(world: World, **fields: Any) -> UserSnapshot:
    user = world.user(**fields)
    found = await load(world.services.db, user.id, passkeys=False)
    assert found is not None
    return found


async def test_each_scope_releases_its_claims_and_no_other(world: World) -> None:
    world.scopes("read", role="reader")
    user = await snapshot(
        world, name="Ada Lovelace", email="ada@example.com", email_verified=True, known=PROFILE,
        roles=["reader"],
    )  # fmt: skip
    updated = released(user, ["profile"]).pop("updated_at")
    assert isinstance(updated, int)
    assert abs(datetime.now(UTC).timestamp() - updated) < 300
    assert released(user, ["profile"]) == {
        "name": "Ada Lovelace",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "preferred_username": "ada",
        "picture": "https://example.com/ada.png",
        "locale": "en-GB",
        "zoneinfo": "Europe/London",
        "updated_at": updated,
    }
    assert released(user, ["email"]) == {"email": "ada@example.com", "email_verified": True}
    assert released(user, ["phone"]) == {
        "phone_number": "+442079460000", "phone_number_verified": False,
    }  # fmt: skip
    assert released(user, ["address"]) == {"address": PROFILE["address"]}
    assert released(user, ["groups"]) == {"groups": ["reader"]}
    assert released(user, ["openid", "orders:read", "read"]) == {}
    everything = released(user, EVERYTHING)
    assert everything.keys() == {claim for claims in SCOPES.values() for claim in claims}


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_not_known_is_left_out_and_never_null(world: World) -> None:
    user = await snapshot(world)
    assert released(user, EVERYTHING).keys() == {"preferred_username", "updated_at", "groups"}


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_client_is_told_the_attributes_that_it_maps_and_no_others(world: World) -> None:
    user = await snapshot(world, email="ada@example.com", known=PROFILE)
    mapped = {
        "profile": {"dept": "department", "sworn": "sworn", "level": "level", "none": "missing"},
        "orders:read": {"https://example.com/teams": "teams"},
    }
    said = released(user, ["profile"], mapped)
    assert {name: said[name] for name in ("dept", "sworn", "level")} == {
        "dept": "Analysis", "sworn": False, "level": 0,
    }  # fmt: skip
    assert "none" not in said
    assert released(user, ["orders:read"], mapped) == {"https://example.com/teams": ["a"]}
    assert released(user, ["email"], mapped).keys() == {"email", "email_verified"}


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("claim", ["sub", "groups", "acr", "email", "email_verified", "Roles "])
async def test_no_attribute_says_what_a_protocol_means_by_a_name(world: World, claim: str) -> None:
    """However the mapping came into the database."""
    user = await snapshot(world, email="ada@example.com", known={"attributes": {"a": "forged"}})
    said = released(user, EVERYTHING, {"email": {claim: "a"}, "profile": {claim: "a"}})
    assert "forged" not in said.values()
    assert not claim_names.may_map_to(claim)
