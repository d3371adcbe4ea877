"""What the protocol hands to the pages, which never know it: a request that waits for a person,
and what may be answered. `app` brings the two together."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from identity.authentication.browser import SignedIn
from identity.dataclass import dataclass
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.details import Details
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import IdentityError
from identity.http.messages import Request, Response

Step = Literal["sign_in", "choose", "consent"]


@dataclass(frozen=True, slots=True)
class Person:
    """Who sits at the browser."""

    session: SignedIn
    user: UserSnapshot


class Waiting(Protocol):
    """A request as a page shows it, and as this person's browser has it."""

    @property
    def client(self) -> ClientSnapshot: ...
    @property
    def redirect_uri(self) -> str: ...
    @property
    def login_hint(self) -> str | None: ...
    @property
    def person(self) -> Person | None: ...
    @property
    def step(self) -> Step | None:
        """What is to be done next; None: nothing, go back to `/authorize`."""

    @property
    def marked(self) -> bool:
        """Whether it came here by `/authorize`, in this browser, within the hour."""

    @property
    def new_scopes(self) -> Sequence[str]:
        """What the user has not agreed to yet."""

    @property
    def old_scopes(self) -> Sequence[str]: ...

    @property
    def details(self) -> Details:
        """What exactly it asks for beside them: agreed to for this once (RFC 9396)."""


class Authorizations(Protocol):
    """What pages may do about a request: only that."""

    async def look(self, request: Request, query: str) -> Waiting:
        """The request that waits in an address, judged anew. Raises `IdentityError`."""

    async def agree(self, request: Request, waiting: Waiting) -> Response: ...
    async def decline(self, waiting: Waiting) -> Response: ...

    def chosen(self, request: Request, waiting: Waiting) -> str:
        """The address to go on at, once the account has been chosen."""


class Device(Protocol):
    """A device that waits for a person, as they see it."""

    @property
    def client(self) -> ClientSnapshot: ...
    @property
    def user_code(self) -> str:
        """As the device shows it."""

    @property
    def scopes(self) -> Sequence[str]: ...
    @property
    def must_prove(self) -> bool:
        """Whether the person has to sign in again before they may answer."""


class Devices(Protocol):
    """What pages may do about a device: only that."""

    async def find(self, person: Person, typed: str) -> Device | None:
        """The device that shows this code. Raises `IdentityError`, `TooManyRequests` where too
        many codes were wrong."""

    async def allow(self, person: Person, waiting: Any) -> bool:
        """False where it does not wait any more."""

    async def decline(self, person: Person, waiting: Any) -> bool: ...


class Logouts(Protocol):
    """Signing out, as a client has asked for it or not."""

    async def confirmed(self, request: Request, go_on: str | None) -> Response:
        """The person has said yes; the request is the address's query, unless it is a page of ours
        that leads on to `go_on`. Raises `IdentityError`."""


class Refusing(Protocol):
    """A page that says what is wrong, for who cannot be sent back."""

    async def __call__(self, request: Request, error: IdentityError) -> Response: ...


class SignedOut(Protocol):
    """The page after signing out, which names the applications that this has ended."""

    async def __call__(
        self,
        request: Request,
        applications: Sequence[str],
        headers: Sequence[tuple[bytes, bytes]],
    ) -> Response: ...
