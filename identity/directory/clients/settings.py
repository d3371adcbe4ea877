"""What can be set about a client, beside what it may (its grants, scopes and audiences): a field
here is a setting everywhere, in the API, the command line, the database and its docs.

Names are those of RFC 7591, OpenID Connect Registration and the RFCs that add to them, where they
have one. `client.settings` keeps what differs from the defaults, so that a further setting is a
field and no migration. What settings demand of each other is in consistency.py.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from identity.directory.clients.values import (
    YEAR,
    Acrs,
    Audiences,
    AuthMethod,
    Claims,
    Contacts,
    DetailTypes,
    Exchanges,
    HttpsUri,
    IpAddress,
    Jwks,
    Lifetimes,
    Long,
    Redirects,
    RequestUris,
    ResponseTypes,
    Short,
    SubjectName,
    WebUri,
    Workloads,
)
from identity.errors import ValidationFailed, pointer
from identity.setting_types import Algorithm


def _said(default: Any, words: str, *examples: Any) -> Any:
    made: dict[str, Any] = {"default_factory": dict} if default == {} else {"default": default}
    return Field(**made, description=words, examples=list(examples) or None)


class ClientSettings(BaseModel):
    """Valid each for itself. None: not set."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    redirect_uris: Redirects = _said(
        (), "Where codes may be sent: each a whole address, compared character by character; of "
        "`http://127.0.0.1` and `http://[::1]` the port may be another.",
        ["https://app.example.com/callback"],
    )  # fmt: skip
    post_logout_redirect_uris: Redirects = _said(
        (), "Where a browser may be sent after signing out, compared like `redirect_uris`.",
        ["https://app.example.com/"],
    )  # fmt: skip
    response_types: ResponseTypes = _said(
        ("code",), "What it may ask `/authorize` for: codes, or with `[]` nothing, as a device or "
        "a program without people has it."
    )  # fmt: skip
    token_endpoint_auth_method: AuthMethod | None = _said(
        None, "How it proves who it is: by this method and no other. Null: with a secret in "
        "either way, a public client with none.", "client_secret_basic",
    )  # fmt: skip
    token_endpoint_auth_signing_alg: Algorithm | None = _said(
        None, "What it signs its assertions by; null: by what its keys are for.", "ES256"
    )
    assertion_audience: Literal["issuer", "token_endpoint"] = _said(
        "issuer", "What `aud` its assertions have: our issuer, or the address of `/token` where a "
        "library knows nothing else.",
    )  # fmt: skip
    jwks: Jwks | None = _said(None, "Its public keys, if they are not at `jwks_uri`.")
    jwks_uri: WebUri | None = _said(
        None, "Where its public keys are.", "https://app.example.com/jwks.json"
    )
    workloads: Workloads = _said(
        {}, "Of `workload_identity`: the program that is this client, as trusted issuers name it: "
        "`{issuer: subject}`.",
        {"https://kubernetes.default.svc.cluster.local": "system:serviceaccount:shop:orders"},
    )  # fmt: skip
    tls_client_auth_subject_dn: SubjectName | None = _said(
        None, "Of `tls_client_auth`: the subject that its certificate names (RFC 4514).",
        "CN=app,O=Example",
    )  # fmt: skip
    tls_client_auth_san_dns: Short | None = _said(None, "Or the name for a host in it.")
    tls_client_auth_san_uri: Long | None = _said(None, "Or the URI in it.")
    tls_client_auth_san_ip: IpAddress | None = _said(None, "Or the IP address in it.")
    tls_client_auth_san_email: Short | None = _said(None, "Or the e-mail address in it.")
    id_token_signed_response_alg: Algorithm = _said(
        "RS256", "What signs its ID tokens, and tokens that tell it that somebody has signed out."
    )
    userinfo_signed_response_alg: Algorithm | None = _said(
        None, "What signs the answer of `/userinfo`; null: it is plain JSON."
    )
    authorization_signed_response_alg: Algorithm = _said(
        "RS256", "What signs authorization responses (JARM)."
    )
    request_object_signing_alg: Algorithm | None = _said(
        None,
        "What its request objects must be signed by; null: by what its keys are for.",
    )
    request_uris: RequestUris = _said((), "Where its request objects may be fetched (RFC 9101).")
    require_pushed_authorization_requests: bool = _said(
        False, "Whether it must push its requests (RFC 9126)."
    )
    require_signed_request_object: bool = _said(
        False, "Whether it must sign its requests (RFC 9101)."
    )
    dpop_bound_access_tokens: bool = _said(
        False,
        "Whether its tokens are always bound to a key of its own (RFC 9449).",
    )
    tls_client_certificate_bound_access_tokens: bool = _said(
        False, "Whether its tokens are bound to its certificate (RFC 8705)."
    )
    subject_type: Literal["public", "pairwise"] = _said(
        "public",
        "Whether `sub` is everybody's, or one that its sector alone knows.",
    )
    sector_identifier_uri: HttpsUri | None = _said(
        None,
        "Whose host is the sector; needed where redirect URIs have several hosts. There is a JSON "
        "list that has each of them.",
    )
    default_max_age: Annotated[int, Field(ge=0, le=YEAR)] | None = _said(
        None, "Seconds after which people sign in again, where a request does not say.", 3600
    )
    require_auth_time: bool = _said(
        False, "Whether it wants `auth_time` in ID tokens; ours have it always."
    )
    default_acr_values: Acrs = _said(
        (), "How surely people sign in, where a request does not say.", ["aal2"]
    )
    backchannel_logout_uri: WebUri | None = _said(
        None, "Where it is told that a session has ended.",
        "https://app.example.com/backchannel-logout",
    )  # fmt: skip
    backchannel_logout_session_required: bool = _said(
        False,
        "Whether it wants `sid` in logout tokens; ours have it always.",
    )
    initiate_login_uri: HttpsUri | None = _said(
        None, "Where others may send people to sign in at it."
    )
    client_uri: WebUri | None = _said(None, "Its home page.")
    logo_uri: WebUri | None = _said(None, "Where its logo is.")
    policy_uri: WebUri | None = _said(None, "What it does with what it hears of people.")
    tos_uri: WebUri | None = _said(None, "Its terms of service.")
    contacts: Contacts = _said((), "Who answers for it.", ["ops@example.com"])
    first_party: bool = _said(
        False, "It is our own: people are not asked whether they consent. To set it, or to change "
        "such a client, takes every built-in scope.",
    )  # fmt: skip
    pkce: Literal["required", "optional"] = _said(
        "required", "`optional`: a confidential client that knows no PKCE may do without."
    )
    claims_in_id_token: bool = _said(
        False, "Whether ID tokens hold what scopes release, and not `/userinfo` alone."
    )
    claims: Claims = _said(
        {}, "Which attributes of a user a scope releases, under which name: "
        "`{scope: {claim: attribute}}`. To set it takes the scope `users:read`.",
        {"profile": {"department": "department"}},
    )  # fmt: skip
    lifetimes: Lifetimes = _said(
        {}, "Seconds that things of this client last, where that is less than for all: "
        "`access_token`, `id_token`, `refresh_token` (unused) and `session`. Of what begins from "
        "then on.", {"id_token": 300},
    )  # fmt: skip
    authorization_details_types: DetailTypes = _said(
        (), "Types of `authorization_details` that it may ask for (RFC 9396).", ["payment"]
    )
    token_exchange: Exchanges = _said(
        {}, "For which resources it may exchange tokens, and for which scopes of each; `*`: all of "
        "the resource's that the client has. To set it takes what giving it these would.",
        {"https://stock.example.com": ["stock:read"]},
    )  # fmt: skip
    token_exchange_impersonation: Audiences = _said(
        (), "Of these, for which the tokens need not say that it acts for somebody. To set it, or "
        "to change such a client, takes every built-in scope.",
    )  # fmt: skip
    profile: Literal["none", "fapi2"] = _said(
        "none", "`fapi2`: all that the FAPI 2.0 Security Profile demands; what it implies is set "
        "with it.",
    )  # fmt: skip

    def stored(self) -> dict[str, Any]:
        """What differs from the defaults, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)


NAMES: Final = frozenset(ClientSettings.model_fields)
DEFAULTS: Final = ClientSettings()


def parse(document: Mapping[str, Any]) -> ClientSettings:
    """Raises `ValidationFailed` with a JSON pointer to each mistake."""
    try:
        return ClientSettings.model_validate(dict(document))
    except ValidationError as mistakes:
        errors = [
            (pointer(*error["loc"]), error["msg"])
            for error in mistakes.errors(include_url=False, include_input=False)[:20]
        ]
        raise ValidationFailed(errors) from None


def load(stored: Mapping[str, Any] | None) -> ClientSettings:
    """What the database has. Not checked again: a rule made later must not end a client's life.
    Names that only a newer version knows, which shares the database, are passed over."""
    if not stored:
        return DEFAULTS
    known = {name: _frozen(value) for name, value in stored.items() if name in NAMES}
    return ClientSettings.model_construct(**known)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
