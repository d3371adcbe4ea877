"""When each secret of a client was last used: an old one can be deleted once nobody uses it."""

from typing import Any

from identity import clock
from tests import acting
from tests.pages.console.sitting import administrator, at, seated
from tests.world import Caller, World


async def test_the_last_use_of_each_secret_is_known_to_a_minute(world: World) -> None:
    boss = await acting.admin(world)
    old, new = world.client("shop"), Caller("shop", world.secret("shop"))

    async def used() -> list[Any]:
        await world.services.secrets_used.write()
        client = await boss.done("GET", "/clients/shop")
        return [secret["last_used_at"] for secret in client["secrets"]]

    assert await used() == [None, None]
    with clock.frozen() as hand:
        await world.act(old)
        first, second = await used()
        assert first is not None and second is None
        for _ in range(2):  # looked at, then known again by its header
            hand.tick(60)
            answer = await world.api.post("/introspect", data={"token": "x"}, headers=old.basic)
            assert answer.status_code == 200
            later, second = await used()
            assert later > first and second is None
            first = later
        wrong = Caller("shop", f"{new.secret}x").basic
        answer = await world.api.post("/introspect", data={"token": "x"}, headers=wrong)
        assert answer.status_code == 401
        assert await used() == [first, None]
        await world.act(new)
        assert (await used())[0] == first and (await used())[1] is not None
    administrator(world)
    page = await (await seated(world)).get(at("/client", id="shop"))
    assert page.text.count("last used") == 2 and "not seen in use" not in page.text
