"""The list of everybody, read in one look-up, is the list as it is read with filters."""

from identity.clock import utcnow
from identity.directory.access.listing import role_names
from identity.directory.users import lines, listing
from identity.directory.users.listing import Wanted
from tests.pages.console.sitting import role
from tests.world import World


async def test_everybody_is_shown_page_by_page_as_ever_with_their_roles(world: World) -> None:
    names = [role(world, name) for name in ("clerk", "boss", "with.dots-and:colon")]
    for n in range(7):
        roles = names[: n % 4]
        user = world.user(f"user{n}", roles=roles, email=f"u{n}@example.com" if n % 2 else None)
        if n % 3:
            with world.change() as session:
                found = session.get(type(user), user.id)
                assert found is not None
                found.last_login_at, found.second_factor = utcnow(), True
    db = world.services.db
    for most in (1, 3, 6, 7, 8, 50):
        after: str | None = None
        while True:
            page = await db.read(
                lambda s, a=after, m=most: (  # type: ignore[misc]
                    found := listing.page(s, Wanted(), after=a, most=m), lines.of(s, found.users)
                )
            )  # fmt: skip
            shown, following = await lines.everybody(db, after, most)
            assert (shown, following) == (page[1], page[0].after)
            if following is None:
                break
            after = following
    assert {"boss", "clerk", *names} <= set(await role_names(db))


async def test_a_place_behind_everybody_shows_nobody(world: World) -> None:
    world.user("ada")
    assert await lines.everybody(world.services.db, "~", 3) == ([], None)
