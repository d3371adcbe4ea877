"""What the process remembers of a client."""

from sqlalchemy import bindparam
from sqlmodel import col

from identity.dataclass import dataclass
from identity.directory.access.granting import ALL
from identity.directory.branding.current import Picture, picture
from identity.directory.branding.table import Logo
from identity.directory.clients.settings import DEFAULTS, ClientSettings
from identity.directory.clients.settings import load as settings_of
from identity.directory.clients.table import Client, ClientSecret
from identity.store import Database, Statement, document, moment, select_of
from identity.store.remembered import Remembered


@dataclass(frozen=True, slots=True)
class ClientSnapshot:
    id: str
    confidential: bool
    active: bool
    grants: frozenset[str]
    scopes: frozenset[str]
    default_scopes: tuple[str, ...] | None
    """What a request without `scope` asks for; None: all that is not administrative."""
    audiences: frozenset[str]
    secrets: tuple[tuple[str, float | None], ...]
    """(digest, Unix time of expiry or None)."""
    good_from: int
    """Unix time, rounded down. Tokens from before are dead."""
    builtin: bool
    """It is our own pages': the scopes asked for pick any audience."""
    settings: ClientSettings = DEFAULTS
    name: str = ""
    """As people know it."""
    self_registered: bool = False
    """Nobody has vouched for it: what it says of itself is not to be trusted."""
    logo: Picture | None = None
    own_page: str | None = None
    """A page of ours where its codes may go, beside its redirect URIs: this very address. It always
    has to be named."""

    @property
    def vouched_for(self) -> bool:
        """An administrator has registered it: the addresses that it names may be within the
        networks that this service is let into."""
        return not self.self_registered

    def may_use(self, grant: str) -> bool:
        return grant in self.grants

    def may_hold(self, scope: str) -> bool:
        return ALL in self.scopes or scope in self.scopes


Clients = Remembered[ClientSnapshot]


_CLIENT = Statement(
    lambda: (
        select_of(
            Client.id,
            Client.type,
            Client.status,
            Client.grants,
            Client.scopes,
            Client.default_scopes,
            Client.audiences,
            Client.good_from,
            Client.builtin,
            Client.settings,
            Client.name,
            Client.self_registered,
            Logo.digest,
            Logo.width,
            Logo.height,
            ClientSecret.digest,
            ClientSecret.expires_at,
        )
        .join_from(Client, ClientSecret, isouter=True)
        .outerjoin(Logo, col(Logo.client_id) == col(Client.id))
        .where(col(Client.id) == bindparam("id"))
    )
)


async def load(db: Database, client_id: str, own_page: str | None = None) -> ClientSnapshot | None:
    """None where there is none, after nearly as much work: one question of the driver. Anybody may
    ask for ids that do not exist, as often as they like. `own_page`: the built-in client's."""
    rows = await db.query(_CLIENT, {"id": client_id})
    if not rows:
        return None
    id_, type_, status, grants, scopes, default_scopes, audiences, good_from, builtin, *more = rows[
        0
    ]
    return ClientSnapshot(
        id=id_,
        confidential=type_ == "confidential",
        active=status == "active",
        grants=frozenset(_names(grants)),
        scopes=frozenset(_names(scopes)),
        default_scopes=None if default_scopes is None else _names(default_scopes),
        audiences=frozenset(_names(audiences)),
        secrets=tuple(
            (digest, moment(expires).timestamp() if expires else None)
            for *_, digest, expires in rows
            if digest is not None
        ),
        good_from=int(moment(good_from).timestamp()),
        builtin=bool(builtin),
        settings=settings_of(document(more[0])),
        name=more[1],
        self_registered=bool(more[2]),
        logo=picture(*more[3:6]),
        own_page=own_page if builtin else None,
    )


def _names(stored: str | list[str]) -> tuple[str, ...]:
    return tuple(document(stored))
