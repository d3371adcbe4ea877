"""Memory that is as it was when a page was asked for, by one question for all that it looks at."""

from typing import Final

from identity.http.messages import Request
from identity.service.wiring import Services

_ASKED: Final = "identity.caught_up"


async def catch_up(services: Services, request: Request) -> None:
    """As `feed.catch_up()`, of which one is enough while a GET is answered: it had come before the
    question was sent. Before a form has been read anything may have happened, however: its page
    asks again. Where the database could not be asked, so does whoever comes next."""
    scope = request.scope
    if _ASKED in scope and scope["method"] in ("GET", "HEAD"):
        return
    await services.feed.catch_up()
    scope[_ASKED] = True
