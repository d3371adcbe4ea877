"""An authorization request, read in two steps.

`addressed` finds out whom the answer goes to; until that is known good, whatever is wrong is said
on a page and never by a redirect. `read` reads the rest, and what it refuses the client is told.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from identity.authentication.dpop import key_of_code
from identity.dataclass import dataclass
from identity.directory import uris
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.details import Details, DetailTypes
from identity.directory.users.claims import CLAIMS
from identity.errors import (
    InvalidRequest,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnauthorizedClient,
    UnsupportedResponseType,
)
from identity.oauth.authorize.response_modes import RESPONSE_MODES, ResponseMode
from identity.tokens.hints import Hints
from identity.verifier.gate.encoding import json_object

Parameters = tuple[tuple[str, str], ...]

MARK = "mark"
"""The parameter of our own on the way back from a page."""
REPEATABLE = frozenset({"resource"})
CREATE = "create"
PROMPTS = ("none", "login", "consent", "select_account", CREATE)
_ADDRESS = ("client_id", "redirect_uri", "state")
_SHA256 = re.compile(r"[A-Za-z0-9_-]{43}")  # in base64url
_SECONDS = re.compile(r"[0-9]{1,9}")


class ReturnAddress(NamedTuple):
    """Whom the answer goes to, and how."""

    client: ClientSnapshot
    redirect_uri: str
    named: bool
    """Whether the request named it; the token request then has to, too (RFC 6749 §4.1.3)."""
    mode: ResponseMode
    state: str | None


class AskedClaims(NamedTuple):
    """What the `claims` parameter asks for, as far as we know it (OpenID Connect Core §5.5)."""

    userinfo: tuple[str, ...] = ()
    """Names of claims."""
    id_token: tuple[str, ...] = ()
    subjects: frozenset[str] | None = None
    """Of whom one must be whom the answer is about; None: whoever it is (§5.5.1)."""
    acr: tuple[str, ...] | None = None
    """How surely, of which one must be met; empty: any. None where it is not essential."""

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.userinfo, *self.id_token)

    def stored(self, scopes: Collection[str]) -> dict[str, list[str]] | None:
        """Those that these scopes release, as a code keeps them."""
        kept = {
            place: [name for name in names if CLAIMS[name] in scopes]
            for place, names in (("userinfo", self.userinfo), ("id_token", self.id_token))
        }
        return {place: names for place, names in kept.items() if names} or None


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """What a client asks for, as far as it can be judged without a person."""

    back: ReturnAddress
    scope: str | None
    resources: tuple[str, ...]
    code_challenge: str | None
    nonce: str | None
    prompt: frozenset[str]
    max_age: int | None
    acr_values: tuple[str, ...]
    claims: AskedClaims
    id_token_hint: str | None
    login_hint: str | None
    dpop_jkt: str | None = None
    """The key that alone may redeem the code (RFC 9449 §10)."""
    details: Details = ()

    async def meant(self, hints: Hints) -> frozenset[str] | None:
        """The subjects that a hint and a claim leave, as the client knows them; None: anybody.
        `InvalidRequest` where the hint is none that this client has from us."""
        subjects = self.claims.subjects
        if self.id_token_hint is None:
            return subjects
        hint = await hints.read(self.id_token_hint)
        if hint is None or hint.client_id != self.back.client.id:
            raise InvalidRequest("id_token_hint is no ID token that this client has from us")
        hinted = frozenset({hint.subject})
        return hinted if subjects is None else hinted & subjects


def client_id(parameters: Parameters) -> str:
    """Raises `InvalidRequest` where it is missing or ambiguous."""
    return only(parameters, "client_id") or _missing("client_id")


def known(client: ClientSnapshot | None) -> ClientSnapshot:
    """Raises `InvalidRequest` where there is none to answer."""
    if client is None or not client.active:
        raise InvalidRequest("this client is not known here", audit="unknown client")
    return client


def addressed(parameters: Parameters, client: ClientSnapshot) -> ReturnAddress:
    """Raises `InvalidRequest` for what must not be answered by a redirect."""
    named = only(parameters, "redirect_uri")
    registered = client.settings.redirect_uris
    if named is None and len(registered) != 1:
        raise InvalidRequest("redirect_uri is missing, and the client has not exactly one")
    redirect_uri = named or registered[0]
    if redirect_uri != client.own_page:
        if not uris.is_registered(redirect_uri, registered):
            raise InvalidRequest("redirect_uri is not registered for this client")
        if uris.redirect_problem(redirect_uri) is not None:  # a rule may be newer than the client
            raise InvalidRequest("redirect_uri is none that codes may be sent to")
    state = only(parameters, "state")
    modes = [value for name, value in parameters if name == "response_mode"]
    mode = RESPONSE_MODES.get(modes[0] if len(modes) == 1 else "query", RESPONSE_MODES["query"])
    return ReturnAddress(client, redirect_uri, named is not None, mode, state)


def check_way(client: ClientSnapshot, *, pushed: bool, signed: bool) -> None:
    """That the request came in the way that the client is held to. What was pushed has been looked
    at then. Raises `InvalidRequest`."""
    if client.settings.require_pushed_authorization_requests and not pushed:
        raise InvalidRequest("this client has to push its requests (RFC 9126)")
    if client.settings.require_signed_request_object and not (pushed or signed):
        raise InvalidRequest("this client has to sign its requests (RFC 9101)")


def read(parameters: Parameters, back: ReturnAddress, types: DetailTypes) -> AuthorizationRequest:
    """Raises OAuth errors by their names."""
    asked = single(parameters)
    _refuse_unsupported(asked)
    if "response_type" not in asked:
        _missing("response_type")
    if asked["response_type"] != "code":
        raise UnsupportedResponseType("response_type must be code")
    if asked.get("response_mode", "query") not in RESPONSE_MODES:
        raise InvalidRequest(f"response_mode must be one of {', '.join(RESPONSE_MODES)}")
    if "authorization_code" not in back.client.grants or not back.client.settings.response_types:
        raise UnauthorizedClient("the client may not use the grant authorization_code")
    return AuthorizationRequest(
        back=back,
        scope=asked.get("scope"),
        resources=tuple(value for name, value in parameters if name == "resource"),
        code_challenge=code_challenge(
            asked, needed=back.client.settings.pkce == "required" or not back.client.confidential
        ),
        nonce=asked.get("nonce"),
        prompt=_prompt(asked.get("prompt", "")),
        max_age=_max_age(asked.get("max_age"), back.client),
        acr_values=_acr_values(asked.get("acr_values"), back.client),
        claims=_claims(asked.get("claims")),
        id_token_hint=asked.get("id_token_hint"),
        login_hint=asked.get("login_hint"),
        dpop_jkt=key_of_code(asked.get("dpop_jkt"), None),
        details=types.parse(asked.get("authorization_details"), back.client),
    )


def single(parameters: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Of what may come once the value. Raises `InvalidRequest` for what came twice."""
    asked = dict(parameters)
    if len(asked) < len(parameters):
        for name, count in Counter(name for name, _ in parameters).items():
            if count > 1 and name not in REPEATABLE:
                raise InvalidRequest("a parameter is repeated")
    return asked


def _refuse_unsupported(asked: Mapping[str, str]) -> None:
    if "request" in asked:
        raise RequestNotSupported
    if "request_uri" in asked:
        raise RequestUriNotSupported
    if "registration" in asked:
        raise RegistrationNotSupported


def code_challenge(asked: Mapping[str, str], *, needed: bool) -> str | None:
    """RFC 7636 §4.3. `plain` protects nothing where requests can be read (RFC 9700 §2.1.1)."""
    challenge, method = asked.get("code_challenge"), asked.get("code_challenge_method")
    if challenge is None:
        if method is not None:
            raise InvalidRequest("code_challenge_method came without code_challenge")
        if needed:
            raise InvalidRequest("code_challenge is missing: this client has to use PKCE (S256)")
        return None
    if method != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not _SHA256.fullmatch(challenge):  # RFC 7636 §4.2
        raise InvalidRequest("code_challenge must be 43 characters of base64url")
    return challenge


def _prompt(text: str) -> frozenset[str]:
    prompt = frozenset(text.split())
    if not prompt <= set(PROMPTS):
        raise InvalidRequest(f"prompt knows {' '.join(PROMPTS)}")
    if "none" in prompt and len(prompt) > 1:
        raise InvalidRequest("prompt=none stands alone")
    return prompt


def _max_age(text: str | None, client: ClientSnapshot) -> int | None:
    if text is None:
        return client.settings.default_max_age
    if not _SECONDS.fullmatch(text):
        raise InvalidRequest("max_age must be a number of seconds")
    return int(text)


def _acr_values(text: str | None, client: ClientSnapshot) -> tuple[str, ...]:
    return tuple(text.split()) if text is not None else client.settings.default_acr_values


def _claims(text: str | None) -> AskedClaims:
    """`{"userinfo": {…}, "id_token": {…}}`; names that we do not know are passed over."""
    if text is None:
        return AskedClaims()
    try:
        claims = json_object(text.encode())
    except ValueError:
        raise InvalidRequest("claims must be a JSON object") from None
    asked: dict[str, dict[str, Any]] = {}
    for place in ("userinfo", "id_token"):
        wanted = claims.get(place)
        if wanted is None:
            wanted = {}
        if not isinstance(wanted, dict) or not all(
            how is None or isinstance(how, dict) for how in wanted.values()
        ):
            raise InvalidRequest("claims must hold objects whose members are objects or null")
        asked[place] = {name: how or {} for name, how in wanted.items()}
    told = asked["id_token"]
    acr = told.get("acr", {})
    return AskedClaims(
        userinfo=tuple(name for name in asked["userinfo"] if name in CLAIMS),
        id_token=tuple(name for name in told if name in CLAIMS),
        subjects=_subjects(asked.values()),
        acr=_values("acr", acr) if acr.get("essential") is True else None,
    )


def _subjects(places: Iterable[Mapping[str, Any]]) -> frozenset[str] | None:
    named = [frozenset(values) for place in places if (values := _values("sub", place.get("sub")))]
    return frozenset.intersection(*named) if named else None


def _values(name: str, how: Mapping[str, Any] | None) -> tuple[str, ...]:
    """§5.5.1: `value`, or one of `values`."""
    how = how or {}
    values = how.get("values", [how["value"]] if "value" in how else [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidRequest(f"claims must ask for {name} by strings")
    return tuple(values)


def only(parameters: Parameters, name: str) -> str | None:
    """The value of a parameter on which hangs whom we answer. InvalidRequest where it repeats."""
    values = [value for each, value in parameters if each == name]
    if len(values) > 1:
        raise InvalidRequest(f"{name} is repeated")
    return values[0] if values else None


def _missing(name: str) -> Any:
    raise InvalidRequest(f"{name} is missing")


def without_mark(pairs: Sequence[tuple[str, str]]) -> tuple[Parameters, str | None]:
    """The request itself, and the mark that it has come back with."""
    marks = [value for name, value in pairs if name == MARK]
    return tuple(pair for pair in pairs if pair[0] != MARK), marks[0] if marks else None
