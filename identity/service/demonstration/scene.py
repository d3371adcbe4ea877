"""What else there is in the demonstration: scopes, roles and applications."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

ORDERS, STOCK = "https://orders.demo.example", "https://stock.demo.example"

SCOPES: Final = (
    ("demo.orders.read", "See orders", ORDERS),
    ("demo.orders.write", "Place and change orders", ORDERS),
    ("demo.stock.read", "See what is in stock", STOCK),
    ("demo.stock.write", "Book what comes and goes", STOCK),
)

ROLES: Final = (
    ("demo-staff", "Everybody who works here", ("demo.orders.read", "demo.stock.read")),
    ("demo-warehouse", "Those who pack", ("demo.stock.write", "demo.orders.write")),
    ("demo-support", "Looks up users and what happened to them", ("users:read", "audit:read")),
)


class Application(NamedTuple):
    id: str
    name: str
    type: Any
    grants: tuple[str, ...]
    scopes: tuple[str, ...]
    audiences: tuple[str, ...] = ()
    settings: Mapping[str, Any] = {}
    weight: int = 0
    """How many of a hundred logins are at it."""


_CODE = ("authorization_code", "refresh_token")
_READS = ("openid", "profile", "email", "demo.orders.read", "demo.stock.read")

APPLICATIONS: Final = (
    Application(
        "demo-shop", "Shop", "confidential", _CODE, (*_READS, "demo.orders.write"), (ORDERS,),
        {"redirect_uris": ["https://shop.demo.example/callback"], "first_party": True}, 55,
    ),
    Application(
        "demo-app", "Warehouse on the telephone", "public", _CODE, (*_READS, "demo.stock.write"),
        (STOCK,), {"redirect_uris": ["com.example.demo:/callback"]}, 25,
    ),
    Application(
        "demo-board", "Dashboards of another company", "confidential", _CODE, _READS, (),
        {"redirect_uris": ["https://board.demo.example/signed-in"]}, 20,
    ),
    Application(
        "demo-scanner", "Scanner at the gate", "confidential", ("client_credentials",),
        ("demo.stock.read", "demo.stock.write"), (STOCK,),
    ),
    Application(
        "demo-reports", "Reports at night", "confidential", ("client_credentials",),
        ("demo.orders.read",), (ORDERS,),
    ),
)  # fmt: skip
