"""Who sits at a browser."""

from identity.authentication import browser
from identity.http import cookies
from identity.http.messages import Request
from identity.records import audit
from identity.service.interactions import Person
from identity.service.wiring import Services


async def person_at(services: Services, request: Request) -> Person | None:
    """Whoever is signed in with it and still active, and acts from here on. The caller has awaited
    `feed.catch_up()`."""
    person = await looking(services, request)
    if person is not None:
        audit.act_as("user", person.user.id)
    return person


async def looking(services: Services, request: Request) -> Person | None:
    """The same, who has not done anything yet."""
    cookie = services.cookies.read(request, cookies.SESSION)
    if cookie is None:
        return None
    session = await browser.find(services.browsers, services.browser_lifetimes, cookie)
    if session is None:
        return None
    user = services.users.at_hand(session.user_id) or await services.users.get(session.user_id)
    if user is None or not user.active:
        return None
    return Person(session, user.at(session.acr))


async def still(services: Services, person: Person) -> Person | None:
    """The same person in the middle of what they have begun and takes its time: with the rights
    that they have by now, None once they are signed out or no user any more."""
    await services.feed.catch_up()
    session = person.session
    if not await browser.lives(services.db, session.id):
        return None
    user = services.users.at_hand(session.user_id) or await services.users.get(session.user_id)
    return Person(session, user.at(session.acr)) if user is not None and user.active else None
