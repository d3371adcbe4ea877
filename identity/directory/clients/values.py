"""What a setting of a client can hold: its type, and what is wrong with a value of it."""

from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from identity.directory import uris
from identity.directory.clients import public_keys, subject_names
from identity.directory.users import claim_names

AuthMethod = Literal[
    "client_secret_basic",
    "client_secret_post",
    "private_key_jwt",
    "workload_identity",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
]
WITH_SECRET: Final = frozenset({None, "client_secret_basic", "client_secret_post"})
"""Methods by which a client proves itself with a secret of ours."""
Acr = Literal["aal1", "aal2", "phr"]
"""How surely somebody is who they say, ascending: `phr` resists phishing."""
Lifetime = Literal["access_token", "id_token", "refresh_token", "session"]

MOST_URIS = 50
YEAR = 366 * 24 * 3600


def _uri(rule: Any, **options: bool) -> AfterValidator:
    def check(uri: str) -> str:
        if problem := rule(uri, **options):
            raise PydanticCustomError("uri", "{problem}", {"problem": problem})
        return uri

    return AfterValidator(check)


def _line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise PydanticCustomError("line", "must be one line of printable characters")
    return text


def _distinguished(text: str) -> str:
    try:
        found = len(subject_names.distinguished(text).rdns)
    except ValueError:
        found = 0
    if not found:
        words = "must be a name as RFC 4514 writes it, such as CN=app,O=Example"
        raise PydanticCustomError("name", "{words}", {"words": words})
    return text


def _address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise PydanticCustomError("address", "must be an IP address") from None
    return text


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise PydanticCustomError("once", "must not name one twice")
    return values


def _keys(jwks: dict[str, Any]) -> dict[str, Any]:
    for pointer, words in public_keys.problems(jwks):
        where = pointer.removeprefix("/keys/")
        told = f"has a key {where} that is wrong: it {words}" if where.isdecimal() else words
        raise PydanticCustomError("jwks", "{told}", {"told": told})
    return jwks


def _attributes(claims: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    for claim in (claim for mapping in claims.values() for claim in mapping):
        if not claim_names.may_map_to(claim):
            words = f"cannot name {claim[:50]}: {claim_names.WHY}"
            raise PydanticCustomError("claim", "{words}", {"words": words})
    return claims


Uri = Annotated[str, Field(max_length=uris.LONGEST, json_schema_extra={"format": "uri"})]
Redirect = Annotated[Uri, _uri(uris.redirect_problem)]
WebUri = Annotated[Uri, _uri(uris.web_problem)]
HttpsUri = Annotated[Uri, _uri(uris.web_problem, local=False)]
RequestUri = Annotated[Uri, _uri(uris.web_problem, fragment=True)]
Short = Annotated[str, Field(max_length=200), AfterValidator(_line)]
Long = Annotated[str, Field(max_length=1000), AfterValidator(_line)]
SubjectName = Annotated[Long, AfterValidator(_distinguished)]
IpAddress = Annotated[Short, AfterValidator(_address)]
Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_line)]
_few, _many = Field(max_length=20, strict=False), Field(max_length=MOST_URIS, strict=False)
Redirects = Annotated[tuple[Redirect, ...], _many, AfterValidator(_once)]
RequestUris = Annotated[tuple[RequestUri, ...], _many, AfterValidator(_once)]
ResponseTypes = Annotated[tuple[Literal["code"], ...], Field(max_length=1, strict=False)]
Contacts = Annotated[tuple[Short, ...], _few]
Acrs = Annotated[tuple[Acr, ...], _few, AfterValidator(_once)]
DetailTypes = Annotated[tuple[Name, ...], _many, AfterValidator(_once)]
Jwks = Annotated[dict[str, Any], AfterValidator(_keys)]
Claims = Annotated[
    dict[Name, Annotated[dict[Name, Name], Field(max_length=50)]],
    Field(max_length=50),
    AfterValidator(_attributes),
]
Workloads = Annotated[dict[Long, Long], Field(max_length=20)]
Audience = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_line)]
Audiences = Annotated[tuple[Audience, ...], _few, AfterValidator(_once)]
Exchanges = Annotated[
    dict[Audience, Annotated[list[Name], Field(min_length=1, max_length=100)]],
    Field(max_length=50),
]
Seconds = Annotated[int, Field(ge=10, le=YEAR)]
Lifetimes = dict[Lifetime, Seconds]
