"""What a process remembers of the brand; the change feed keeps it true."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from sqlalchemy import bindparam, literal
from sqlmodel import col

from identity.dataclass import dataclass
from identity.directory.branding import colours
from identity.directory.branding.table import ONE, Branding, Logo
from identity.store import Database, Statement, Work, execute, select_of
from identity.store.remembered import Remembered

NOUN: Final = "branding"
LOGO: Final = "logo"
"""In the change feed; its refs are digests."""
NAME: Final = "Identity"
"""Of a service that has none of its own."""
WORDMARK: Final = 2
"""A logo that is more than so many times wider than high has the name in it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A logo as pages show it."""

    digest: str
    width: int
    height: int

    @property
    def file(self) -> str:
        return f"logo-{self.digest}.webp"

    @property
    def is_wordmark(self) -> bool:
        return self.width > WORDMARK * self.height

    @property
    def is_square(self) -> bool:
        return self.width == self.height

    def width_at(self, height: int) -> int:
        return max(1, round(self.width * height / self.height))


@dataclass(frozen=True)
class Brand:
    name: str = NAME
    own_name: bool = False
    """Whether somebody has given it."""
    accent: str | None = None
    accent_dark: str | None = None
    background: str | None = None
    background_dark: str | None = None
    logo: Picture | None = None
    version: int = 0

    @cached_property
    def sheet(self) -> bytes:
        """The style sheet that goes behind the pages' own; empty where it has nothing to say."""
        return colours.sheet(self.chosen).encode()

    @cached_property
    def sheet_file(self) -> str | None:
        """Its name changes with it."""
        return f"brand-{hashlib.sha256(self.sheet).hexdigest()[:24]}.css" if self.sheet else None

    @property
    def chosen(self) -> Mapping[str, str | None]:
        return {name: getattr(self, name) for name in colours.FIELDS}

    @property
    def button(self) -> tuple[str, str]:
        """Its colour and that of its words, where there is but one scheme: in mails."""
        light, _ = colours.shown(self.chosen)
        return light.accent, light.on_accent


PLAIN: Final = Brand()
Brands = Remembered[Brand]
Logos = Remembered[bytes]
"""Images by digest."""

_COLUMNS: tuple[Any, ...] = (
    Branding.name,
    Branding.accent,
    Branding.accent_dark,
    Branding.background,
    Branding.background_dark,
    Branding.version,
)
_BRAND = Statement(
    lambda: (
        select_of(*_COLUMNS, Logo.digest, Logo.width, Logo.height)
        .join_from(Branding, Logo, col(Logo.client_id).is_(None), isouter=True)
        .where(col(Branding.id) == literal(ONE))
    )
)
_IMAGE = Statement(
    lambda: select_of(Logo.image).where(col(Logo.digest) == bindparam("digest")).limit(1)
)


async def load(db: Database) -> Brand:
    rows = await db.query(_BRAND, {})
    return _brand(rows[0]) if rows else PLAIN


def look(work: Work) -> Brand:
    """As the database has it in this transaction."""
    rows = execute(work, _BRAND, {}).fetchall()
    return _brand(rows[0]) if rows else PLAIN


async def now_in_force(brands: Brands) -> Brand:
    """The caller has awaited `feed.catch_up()`."""
    return brands.at_hand("*") or await brands.get("*") or PLAIN


async def load_image(db: Database, digest: str) -> bytes | None:
    rows = await db.query(_IMAGE, {"digest": digest})
    return bytes(rows[0][0]) if rows else None


def picture(digest: str | None, width: int, height: int) -> Picture | None:
    return None if digest is None else Picture(digest, width, height)


def _brand(row: Sequence[Any]) -> Brand:
    name, accent, accent_dark, background, background_dark, version, *logo = row
    return Brand(
        name or NAME,
        name is not None,
        accent,
        accent_dark,
        background,
        background_dark,
        picture(*logo),
        version,
    )
