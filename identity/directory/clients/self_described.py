"""What a program may say of itself: when it registers (RFC 7591 §2), or in a document at its own
address. An allow-list: whatever is not on it is passed over (§2), and the whole of what it comes to
is looked at, each time that it changes.

Nobody has vouched for such a client. So it gets what is told of the user who agrees to it, and
resources that an administrator has opened to all of its kind; never a scope of this service's own,
`*`, `groups`, or a grant by which nobody is asked.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlmodel import Session, col, select

from identity.directory import uris
from identity.directory.access.granting import OPENID, shown
from identity.directory.access.table import Scope
from identity.directory.clients import settings
from identity.directory.clients.table import Client, ClientType
from identity.directory.clients.values import WITH_SECRET
from identity.errors import InvalidClientMetadata, InvalidRedirectUri, ValidationFailed

GRANTS: Final = (
    "authorization_code",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:device_code",
)
NEVER: Final = frozenset(
    {
        "first_party", "pkce", "claims", "claims_in_id_token", "lifetimes",
        "authorization_details_types", "profile", "token_exchange", "token_exchange_impersonation",
        "workloads", "assertion_audience",
    }
)  # fmt: skip
"""Settings that administrators alone decide; a test looks that each setting is on one side."""
MAY_SAY: Final = settings.NAMES - NEVER
NAME_LENGTH: Final = 100
TOLD: Final = tuple(name for name in OPENID if name != "groups")


class Described(NamedTuple):
    """A client as it wants to be, and may."""

    name: str
    type: ClientType
    grants: list[str]
    scopes: list[str]
    default_scopes: list[str]
    settings: dict[str, Any]


def open_scopes(session: Session) -> list[str]:
    """What any program may ask users for."""
    query = select(Scope.name).where(col(Scope.open_to_registered), col(Scope.builtin).is_(False))
    return [*TOLD, *sorted(session.exec(query))]


def read(
    document: Mapping[str, Any],
    opened: Collection[str],
    known_grants: Collection[str],
    *,
    public: bool,
) -> Described:
    """`opened`: as `open_scopes` gives them. `public`: it cannot be a confidential client; one that
    asks for a secret is told that it has none (§2). Raises `InvalidRedirectUri`,
    `InvalidClientMetadata`."""
    # Clients send "" for what they leave out.
    said = {name: value for name, value in document.items() if value not in (None, "")}
    chosen = {name: said[name] for name in said if name in MAY_SAY}
    grants = _grants(said, known_grants)
    try:
        valid = settings.parse(chosen)
    except ValidationFailed as mistakes:
        raise in_their_words(mistakes) from None
    method = valid.token_endpoint_auth_method or ("none" if public else "client_secret_basic")
    if public and method in WITH_SECRET:
        method = "none"
    if public and method != "none":
        raise InvalidClientMetadata("token_endpoint_auth_method must be none here")
    chosen["token_endpoint_auth_method"] = method
    if "authorization_code" in grants and not valid.redirect_uris:
        raise InvalidRedirectUri("redirect_uris is missing: codes have to be sent somewhere")
    scopes = _scopes(said, opened)
    return Described(
        name=_name(said) or _host(valid.redirect_uris) or "An application",
        type="public" if method == "none" else "confidential",
        grants=grants,
        scopes=scopes,
        default_scopes=[name for name in scopes if name not in OPENID],
        settings=chosen,
    )


def is_beyond(client: Client, opened: Collection[str]) -> bool:
    """Whether an administrator has given it more than it could have got by itself: then it does not
    decide for itself any more."""
    chosen = client.settings or {}
    return bool(
        client.builtin
        or not set(client.scopes) <= set(opened)
        or not set(client.grants) <= set(GRANTS)
        or client.audiences
        or NEVER & chosen.keys()
    )


def in_their_words(mistakes: ValidationFailed) -> InvalidClientMetadata | InvalidRedirectUri:
    """RFC 7591 §3.2.2."""
    words = "; ".join(f"{where.lstrip('/').replace('/', '.')} {text}" for where, text in
                      mistakes.errors[:5])  # fmt: skip
    if any(where.startswith("/redirect_uris") for where, _ in mistakes.errors):
        return InvalidRedirectUri(words)
    return InvalidClientMetadata(words)


def _grants(said: Mapping[str, Any], known: Collection[str]) -> list[str]:
    grants = _texts(said.get("grant_types", ["authorization_code"]), "grant_types")
    may = [name for name in GRANTS if name in known]
    if beyond := [name for name in grants if name not in may]:
        raise InvalidClientMetadata(
            f"grant_types cannot have {shown(beyond)}: there are {', '.join(may)}"
        )
    return grants


def _scopes(said: Mapping[str, Any], opened: Collection[str]) -> list[str]:
    if "scope" not in said:
        return list(opened)
    if not isinstance(said["scope"], str):
        raise InvalidClientMetadata("scope must be a text of names with spaces between")
    scopes = list(dict.fromkeys(said["scope"].split()))
    if beyond := [name for name in scopes if name not in opened]:
        raise InvalidClientMetadata(f"scope cannot have {shown(beyond)}")
    return scopes


def _name(said: Mapping[str, Any]) -> str | None:
    name = said.get("client_name")
    if name is None:
        return None
    if not isinstance(name, str) or len(name) > NAME_LENGTH or not name.isprintable():
        raise InvalidClientMetadata(f"client_name must be {NAME_LENGTH} printable characters")
    return name.strip() or None


def _host(redirect_uris: Collection[str]) -> str | None:
    return next((host for uri in redirect_uris if (host := uris.host_of(uri))), None)


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidClientMetadata(f"{name} must be a list of texts")
    return list(dict.fromkeys(value))
