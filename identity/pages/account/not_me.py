"""`/account/not-me`: somebody else was in this account. All that is signed in ends, and a new
password is chosen, in one act: one without the other would leave the other a way in."""

from identity.pages.account.password import NewPassword
from identity.pages.registry import House


class NotMe(NewPassword):
    name, within, fresh = "not-me", "history", True
    keeps, leads_to = False, "safe"


async def page(house: House) -> NotMe:
    return NotMe(house, await house.rendering())
