"""An authorization request as it stands for the person at one browser."""

from identity.authentication.marks import Mark
from identity.dataclass import dataclass
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.details import Details
from identity.oauth.authorize.arriving import Carried
from identity.oauth.authorize.deciding import Asked
from identity.oauth.authorize.request import AuthorizationRequest
from identity.service.interactions import Person, Step


@dataclass(frozen=True, slots=True)
class Interaction:
    """A request, who sits at the browser, and what has to happen next (`service.interactions`)."""

    request: AuthorizationRequest
    carried: Carried
    person: Person | None
    asked: Asked | None
    """None until somebody has signed in."""
    step: Step | None
    pushed: str | None = None
    """The digest of the pushed request that it is."""

    @property
    def client(self) -> ClientSnapshot:
        return self.request.back.client

    @property
    def redirect_uri(self) -> str:
        return self.request.back.redirect_uri

    @property
    def login_hint(self) -> str | None:
        return self.request.login_hint

    @property
    def details(self) -> Details:
        return self.request.details

    @property
    def mark(self) -> Mark | None:
        return self.carried.mark

    @property
    def marked(self) -> bool:
        return self.mark is not None

    @property
    def never_asked(self) -> bool:
        return self.asked is not None and self.asked.consented is None

    @property
    def new_scopes(self) -> tuple[str, ...]:
        return self.asked.new if self.asked else ()

    @property
    def old_scopes(self) -> tuple[str, ...]:
        scopes = self.asked.all if self.asked else ()
        return tuple(name for name in scopes if name not in self.new_scopes)
