"""What a token would say, made by the mint that makes them, and never signed: nothing here can be
used for anything."""

from typing import Any, Literal

from identity.authentication.levels import (
    BY_PASSWORD,
    BY_PASSWORD_AND_CODE,
    Proof,
    by_passkey,
)
from identity.clock import utcnow
from identity.dataclass import dataclass
from identity.directory.access import granting
from identity.directory.clients.registry import ClientSnapshot
from identity.directory.users.claims import released
from identity.directory.users.snapshot import UserSnapshot
from identity.errors import Conflict, InvalidScope, InvalidTarget, NotFound, ValidationFailed
from identity.service.wiring import Services
from identity.tokens import rights, targets
from identity.tokens.minting import Subject
from identity.tokens.sessions.beginning import Begun

Level = Literal["aal1", "aal2", "phr"]
PROOFS: dict[Level, Proof] = {
    "aal1": BY_PASSWORD,
    "aal2": BY_PASSWORD_AND_CODE,
    "phr": by_passkey(in_one_device=True, password=False),
}
PREVIEW = "preview"
"""In place of ids that nothing has."""


@dataclass(frozen=True, slots=True)
class Preview:
    scope: str
    withheld: list[str]
    """Of the scopes asked for, those that are not granted; `why.rights` says why."""
    header: dict[str, str]
    claims: dict[str, Any]
    id_token: dict[str, Any] | None
    """What an ID token would tell of the user, beside the protocol's claims."""


async def preview(
    services: Services,
    client_id: str,
    *,
    user_id: str | None,
    scope: str | None = None,
    resource: str | None = None,
    acr: Level = "aal1",
) -> Preview:
    """For this user, or for the client itself; on record. `NotFound`, `Conflict` where there would
    be no token at all, `ValidationFailed` for a scope or resource as `/token` would refuse it."""
    await services.feed.catch_up()
    client = await services.clients.get(client_id)
    if client is None:
        raise NotFound("no such client")
    if not client.active:
        raise Conflict("the client is disabled: there would be no token")
    user = await _user(services, client, user_id, acr)
    home = services.scopes.at_hand("*") or await services.scopes.get("*") or {}
    settings = services.settings
    own = frozenset({settings.audience, settings.issuer})
    try:
        target = targets.at_token(resource, scope, client, own, home, settings.issuer)
        names = _granted(services, client, user, scope, home, target)
    except InvalidTarget as refusal:
        raise ValidationFailed([("/resource", refusal.detail)]) from None
    except InvalidScope as refusal:
        raise ValidationFailed([("/scope", refusal.detail)]) from None
    audience, granted = target or settings.audience, " ".join(names)
    subject = services.subjects.as_known(client, _subject(services, client, user, acr))
    claims, _ = services.mint.claims(subject, client_id=client.id, audience=audience, scope=granted)
    claims["jti"] = PREVIEW
    asked = granting.parse(scope or "")
    told = None
    if user is not None and "openid" in names:
        whole = names if client.settings.claims_in_id_token else ()
        told = released(user, whole, client.settings.claims)
    services.queue.put("token.previewed", subject=user_id, client_id=client_id, scope=granted)
    return Preview(
        scope=granted,
        withheld=[name for name in asked if name != granting.ALL and name not in names],
        header=services.mint.header(audience),
        claims=claims,
        id_token=told,
    )


async def _user(
    services: Services, client: ClientSnapshot, user_id: str | None, acr: Level
) -> UserSnapshot | None:
    if user_id is None:
        if not client.confidential or not client.may_use("client_credentials"):
            raise Conflict("the client cannot act for itself: there would be no token")
        return None
    user = await services.users.get(user_id)
    if user is None:
        raise NotFound("no such user")
    if not user.active:
        raise Conflict("the user is disabled: there would be no token")
    return user.at(acr)


def _granted(
    services: Services,
    client: ClientSnapshot,
    user: UserSnapshot | None,
    scope: str | None,
    home: Any,
    target: str | None,
) -> tuple[str, ...]:
    """By a code where the client uses them, else by a password, or by itself."""
    default = services.settings.audience
    if user is not None and client.may_use("authorization_code"):
        resource = target if target not in (default, services.settings.issuer) else None
        return rights.granted_scopes(client, user, scope, home, resource)
    holder = None if user is None else user.scopes
    return rights.at_token(client, holder, scope, home, target, default)


def _subject(
    services: Services, client: ClientSnapshot, user: UserSnapshot | None, acr: Level
) -> Subject:
    if user is None:
        return Subject(client.id)
    now = utcnow()
    session = Begun(PREVIEW, now, now + services.lifetimes.absolute, list(PROOFS[acr].amr), acr)
    return Subject(user.id, user.username, user.roles, session)
