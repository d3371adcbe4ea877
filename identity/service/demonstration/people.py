"""Who is in the demonstration: two hundred people, the same for the same seed."""

from datetime import datetime, timedelta
from random import Random
from typing import Final, Literal, NamedTuple

from identity.directory.users import names

HOW_MANY: Final = 200
DOMAIN: Final = "demo.example"
"""Reserved (RFC 2606): no mail to it reaches anybody."""
GIVEN: Final = (
    "Ada", "Amina", "Anna", "Beatriz", "Carlos", "Chen", "Clara", "David", "Elif", "Emil", "Fatima",
    "Felix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jonas", "Julia", "Kofi", "Lea", "Luca",
    "Maja", "Mateo", "Mei", "Nadia", "Noah", "Olga", "Omar", "Paula", "Priya", "Rosa", "Samuel",
    "Sofia", "Tariq", "Tomas", "Vera", "Yusuf", "Zoe", "Zuri",
)  # fmt: skip
FAMILY: Final = (
    "Abebe", "Almeida", "Bauer", "Becker", "Costa", "Diaz", "Dubois", "Eriksen", "Fischer", "Haas",
    "Hansen", "Ito", "Jansen", "Kaya", "Keller", "Kim", "Kovacs", "Lang", "Lopez", "Mensah",
    "Moreau", "Novak", "Okafor", "Patel", "Petrov", "Ricci", "Rossi", "Sato", "Schulz", "Silva",
    "Svensson", "Tanaka", "Varga", "Weber", "Wong",
)  # fmt: skip
LOCALES: Final = (("en-GB", "Europe/London"), ("de-DE", "Europe/Berlin"), ("fr-FR", "Europe/Paris"))

Life = Literal["busy", "seldom", "dormant", "disabled", "invited", "one-time"]


class PersonOfDemo(NamedTuple):
    username: str
    name: str
    given_name: str
    family_name: str
    locale: str
    zoneinfo: str
    life: Life
    roles: tuple[str, ...]
    app: bool
    """Whether they have set up an authenticator app."""
    created_at: datetime
    address: str
    browser: str
    """What it says of itself."""


BROWSERS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/138.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1 Version/18.5 Safari/605.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/138.0 Mobile Safari/537.36",
)
_LIVES: Final[tuple[Life, ...]] = ("busy", "seldom", "dormant", "disabled", "invited", "one-time")


def people(dice: Random, now: datetime, how_many: int = HOW_MANY) -> list[PersonOfDemo]:
    """`now`: when the week ends."""
    called = dice.sample([(g, f) for g in GIVEN for f in FAMILY], how_many)
    lives = dice.choices(_LIVES, (58, 24, 10, 3, 3, 2), k=how_many)
    return [_person(dice, now, *each, life) for each, life in zip(called, lives, strict=True)]


def _person(dice: Random, now: datetime, given: str, family: str, life: Life) -> PersonOfDemo:
    locale, zone = dice.choice(LOCALES)
    days = dice.uniform(0.2, 6.5) if life in ("invited", "one-time") else dice.uniform(8, 400)
    roles = ["demo-staff"]
    if dice.random() < 0.25:
        roles.append("demo-warehouse")
    if dice.random() < 0.05:
        roles.append("demo-support")
    return PersonOfDemo(
        username=f"{given}.{family}".lower(),
        name=f"{given} {family}",
        given_name=given,
        family_name=family,
        locale=locale,
        zoneinfo=zone,
        life=life,
        roles=tuple(roles),
        app=life in ("busy", "seldom") and dice.random() < 0.4,
        created_at=now - timedelta(days=days),
        address=f"198.51.100.{dice.randrange(1, 255)}",
        browser=dice.choice(BROWSERS),
    )


def free_name(taken: set[str], username: str) -> str:
    """`username`, or one with a number, that logs nobody in yet."""
    number, free = 1, username
    while {names.login_key(free), f"{free}@{DOMAIN}"} & taken:
        number += 1
        free = f"{username}{number}"
    return free
