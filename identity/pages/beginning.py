"""What signing in comes to: a browser session, and back to where somebody waits."""

from dataclasses import replace

from identity.authentication import browser, devices, levels, offering
from identity.authentication.levels import Proof
from identity.dataclass import dataclass
from identity.errors import OAuthError
from identity.http import cookies
from identity.http.cookies import Header
from identity.http.messages import Request, Response
from identity.http.origins import see_other
from identity.opaque import mint
from identity.pages import fresh, returning
from identity.pages.registry import House
from identity.records import audit
from identity.service.interactions import Person, Waiting
from identity.store import Work


@dataclass(frozen=True, slots=True)
class Asked:
    """What `/sign-in` was asked for."""

    to: str | None
    waiting: Waiting | None
    """The request that waits for it; None where none does, or nothing can come of it."""
    action: str
    """Where its forms go."""
    device: str | None = None
    """The lasting name of this browser; None where nobody would be told of a new one."""

    @property
    def client_id(self) -> str | None:
        return self.waiting.client.id if self.waiting else None


class Beginning:
    def __init__(self, house: House, base: str) -> None:
        self._authorizations = house.authorizations
        self._services = house.services
        self._base = base

    async def asked(self, request: Request) -> Asked:
        found = await self._asked(request)
        if not self._services.mails.on:
            return found
        known = self._services.cookies.read(request, cookies.DEVICE)
        return replace(found, device=devices.named(known))

    async def _asked(self, request: Request) -> Asked:
        to = returning.to(request.query, self._base)
        action = returning.with_to(f"{self._base}/sign-in", to)
        await fresh.catch_up(self._services, request)
        if to is None or not returning.is_request(to, self._base):
            return Asked(to, None, action)
        try:
            waiting = await self._authorizations.look(request, returning.query_of(to))
        except OAuthError:
            # `/authorize` says so in its own way, once somebody is back there.
            return Asked(to, None, action)
        return Asked(to, waiting, action)

    def begin(
        self,
        work: Work,
        request: Request,
        asked: Asked,
        user_id: str,
        proof: Proof,
        before: Person | None,
    ) -> str:
        """The cookie of the session, whose name is another than it was before."""
        cookie = self.raised(work, request, user_id, proof, before)
        if asked.device is not None:
            said = (request.header(b"user-agent") or b"").decode("latin-1")
            devices.signed_in(work, self._services.mails, user_id, asked.device, said)
        audit.record(
            work, "login", subject=user_id, client_id=asked.client_id, by="browser", acr=proof.acr
        )
        return cookie

    def offers(self, work: Work, asked: Asked, user_id: str, before: Person | None) -> bool:
        """Whether whoever has just signed in by a password alone is offered a second factor, which
        happens once: on the way to a page of ours, not while an application or an act waits."""
        base, accounts = self._base, self._services.settings.accounts
        here = (
            asked.to is None
            or asked.to == f"{base}/account"
            or returning.is_console(asked.to, base)
        )
        if before is not None or not here or not accounts.offer_second_factor:
            return False
        return offering.first(work, user_id)

    def raised(
        self, work: Work, request: Request, user_id: str, proof: Proof, before: Person | None
    ) -> str:
        return browser.sign_in(
            work,
            self._services.browser_lifetimes,
            user_id=user_id,
            amr=list(proof.amr),
            acr=proof.acr,
            before=before.session if before else None,
            user_agent=(request.header(b"user-agent") or b"").decode("latin-1") or None,
        )

    def browser(self, request: Request) -> tuple[str, list[Header]]:
        """What tells this browser from others, and what gives it that where it has none."""
        jar = self._services.cookies
        known = jar.read(request, cookies.BROWSER)
        if known is not None:
            return known, []
        made = mint("br")
        return made, [jar.set(cookies.BROWSER, made)]

    def go_on(self, asked: Asked, cookie: str, *, offer: bool = False) -> Response:
        """`offer`: a second factor, on the way."""
        headers = [self.set(cookie)]
        if asked.device is not None:
            lasting = int(devices.REMEMBERED.total_seconds())
            headers.append(self._services.cookies.set(cookies.DEVICE, asked.device, lasting))
        to = asked.to or f"{self._base}/account"
        offered = returning.with_to(f"{self._base}/account/offer", to)
        return see_other(offered if offer else to, headers)

    def set(self, cookie: str) -> tuple[bytes, bytes]:
        lasting = int(self._services.browser_lifetimes.absolute.total_seconds())
        return self._services.cookies.set(cookies.SESSION, cookie, lasting)


def stepped_up(person: Person) -> bool:
    """Whether this person may do now what takes a fresh proof."""
    session = person.session
    proven_at = session.authenticated_at.timestamp()
    return levels.stepped_up(session.acr, proven_at, second_factor=person.user.second_factor)
