"""What the overview of the console and `identity doctor` warn of, as far as the database knows."""

from identity.directory.access import editing
from identity.service.warnings import warnings
from tests.pages.console.sitting import administrator, seated
from tests.second_factors import given_app
from tests.world import World

ABOUT = "role admin"


def told(world: World) -> str | None:
    """What has to be done about the role `admin`."""
    with world.change() as session:
        found = warnings(session, world.services.settings)
    return next((each.mend for each in found if each.what == ABOUT), None)


async def test_the_role_admin_warns_until_it_takes_a_second_factor(world: World) -> None:
    root = administrator(world)
    assert (told(world) or "").startswith("2 of them have no second factor")
    browser = await seated(world)
    page = await browser.get("/console")
    assert ABOUT in page.text and "identity roles update admin --acr aal2" in page.text
    given_app(world, root)
    assert (told(world) or "").startswith("1 of them")
    world.user("idle", roles=["admin"], status="disabled")
    assert (told(world) or "").startswith("1 of them"), "who cannot sign in is no danger"
    with world.change() as session:
        role = editing.get_role(session, "admin", lock=True)
        editing.update_role(session, role, {"acr": "aal2"}, None)
    assert told(world) is None
