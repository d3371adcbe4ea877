"""What a client has to be as a whole, whoever makes or changes it, and from where."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from identity.directory.access.authority import Held, check_audiences, check_scopes, unregistered
from identity.directory.access.granting import ALL, check_exist
from identity.directory.clients import consistency, settings, surroundings
from identity.directory.clients.grant_kinds import GrantKind
from identity.directory.clients.privileges import check_settings
from identity.directory.clients.surroundings import UNSEEN, Surroundings
from identity.directory.clients.table import Client, ClientType
from identity.errors import ValidationFailed

_AUDIENCE = re.compile(r"[^\s#\x00-\x20\x7f]{1,200}")


def valid_audience(audience: str) -> bool:
    """A resource (RFC 8707): in practice an absolute URI, but any word without spaces and
    fragment, 200 characters at the most, names one."""
    return _AUDIENCE.fullmatch(audience) is not None


def check_name(name: str) -> None:
    """People are asked to consent by it, and it stands in lists. Raises `ValidationFailed`."""
    if not name.isprintable() or not name.strip():
        raise ValidationFailed([("/name", "must be one line of printable characters")])


def choose(client: Client, chosen: Mapping[str, Any], around: Surroundings = UNSEEN) -> None:
    """Give a client settings, None for the default. What a newer version has stored stays."""
    client.settings = settled(client.settings, chosen, client.type, around)


def settled(
    before: Mapping[str, Any] | None,
    chosen: Mapping[str, Any],
    type_: ClientType,
    around: Surroundings = UNSEEN,
) -> dict[str, Any] | None:
    """What is stored of a client that had `before`. Raises `ValidationFailed`."""
    before = before or {}
    kept = {name: value for name, value in before.items() if name in settings.NAMES}
    document = {name: value for name, value in {**kept, **chosen}.items() if value is not None}
    valid = settings.parse(consistency.implied(document))
    errors = consistency.problems(valid, type_)
    if errors := errors or [*surroundings.problems(settings.load(before), valid, around)]:
        raise ValidationFailed(errors)
    newer = {name: before[name] for name in sorted(before.keys() - settings.NAMES)}
    return (newer | valid.stored()) or None


def check(session: Session, client: Client, known_grants: Sequence[GrantKind]) -> None:
    """Its grants, scopes and audiences."""
    kinds = {kind.grant_type: kind for kind in known_grants}
    errors = [
        ("/grant_types", f"no such grant: {grant}; there are {', '.join(kinds)}")
        for grant in client.grants
        if grant not in kinds
    ]
    for name in (g for g in client.grants if g in kinds and kinds[g].for_itself):
        if client.type == "public":
            errors.append(("/grant_types", f"a public client cannot use {name}"))
        if ALL in client.scopes:
            words = f"{ALL} stands for what a user holds; with {name} name the scopes"
            errors.append(("/scopes", words))
    errors += [
        ("/audiences", f"must be a word without spaces and '#', best a URI: {audience}")
        for audience in client.audiences
        if not valid_audience(audience)
    ]
    errors += [
        ("/default_scopes", f"is not among the client's scopes: {scope}")
        for scope in client.default_scopes or ()
        if scope == ALL or not {scope, ALL} & {*client.scopes}
    ]
    if settings.load(client.settings).profile == "fapi2" and "password" in client.grants:
        errors.append(("/grant_types", "the profile fapi2 takes no password"))
    if errors:
        raise ValidationFailed(errors)
    check_exist(session, [scope for scope in client.scopes if scope != ALL])
    check_exist(session, client.default_scopes or (), "/default_scopes")


def check_may_give(session: Session, client: Client, held: Held) -> None:
    """What the client may do, `held` may give."""
    chosen = settings.load(client.settings)
    exchanges = chosen.token_exchange
    exchanged = {name for names in exchanges.values() for name in names} - {ALL}
    check_scopes(held, [*client.scopes, *(client.default_scopes or ()), *exchanged])
    check_audiences(session, held, [*client.audiences, *exchanges])
    check_settings(held, chosen)


def check_registered(
    session: Session,
    audiences: Collection[str],
    own_audiences: Collection[str],
    where: str = "/audiences",
) -> None:
    """An audience is a resource that is known here: a scope belongs to it."""
    unknown = unregistered(session, audiences, own_audiences)
    if unknown:
        words = "no such resource: {}; make a scope that belongs to it first"
        raise ValidationFailed([(where, words.format(each)) for each in unknown])


def check_exchanges(session: Session, before: Mapping[str, Any] | None, client: Client) -> None:
    """Tokens are exchanged for resources that are known here, and are not this service's own.
    `before`: its settings until now."""
    known = settings.load(before).token_exchange
    added = [each for each in settings.load(client.settings).token_exchange if each not in known]
    check_registered(session, added, (), "/token_exchange")
