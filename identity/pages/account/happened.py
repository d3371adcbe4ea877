"""What happened to an account, in plain words: of its own audit events, as its user reads them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlmodel import Session

from identity.pages.account.sessions import named
from identity.pages.words import _
from identity.records.audit import AuditEvent

WORDS: Final[Mapping[str, str]] = {
    "user.created": _("The account was created"),
    "user.signed_up": _("You made the account yourself"),
    "user.updated": _("The profile was changed"),
    "user.disabled": _("The account was disabled"),
    "user.enabled": _("The account was enabled again"),
    "user.roles_changed": _("What the account may do was changed"),
    "user.unlocked": _("The account may be signed in to again after wrong passwords"),
    "user.password_changed": _("The password was changed"),
    "user.password_reset": _("A one-time password was set"),
    "user.secured": _("You said that it was not you: everything was ended"),
    "user.notices_chosen": _("You chose whether mails tell of new devices"),
    "user.invited": _("You were invited by mail"),
    "email_change.asked": _("Another e-mail address was asked for"),
    "email_change.undone": _("A change of the e-mail address was taken back"),
    "user.data_downloaded": _("What is known of you was downloaded"),
    "user.deletion_requested": _("The account was marked to be deleted"),
    "user.deletion_undone": _("The account is not to be deleted any more"),
    "factor.added": _("A second factor was set up"),
    "factor.removed": _("A second factor was removed"),
    "passkey.doubted": _("Somebody may have a copy of a passkey: it lets nobody in"),
    "passkey.trusted": _("You said that a passkey is yours alone"),
    "passkey.renamed": _("A passkey was renamed"),
    "factors.reset": _("The second factors were taken away"),
    "enrolment_link.issued": _("A link was given out by which a new second factor is set up"),
    "enrolment_link.redeemed": _("The link to a new second factor was opened"),
    "enrolment_link.completed": _("By the link, a new second factor took the place of all others"),
    "enrolment_link.withdrawn": _("The link to a new second factor was taken back"),
    "recovery_codes.made": _("New recovery codes were made"),
    "recovery_code.used": _("A recovery code was used"),
    "consent.granted": _("You allowed an application to act in your name"),
    "consent.withdrawn": _("An application may not act in your name any more"),
    "authorization.granted": _("You were signed in to an application"),
    "authorization.declined": _("You did not allow an application what it asked for"),
    "device.allowed": _("You allowed a device"),
    "device.declined": _("You did not allow a device"),
    "device.guessed": _("A code was typed that no device shows"),
    "browser_session.ended": _("A browser was signed out"),
    "session.ended": _("A session at an application ended"),
    "sessions.ended": _("Sessions at applications ended"),
    "refresh_token.replayed": _("An application's key was used twice: its session was ended"),
    "code.replayed": _("A code was used twice: what it began was ended"),
    "device_code.replayed": _("A device's code was used twice: what it began was ended"),
    "token.revoked": _("An application gave a token back"),
    "token.previewed": _("Somebody looked at what a token of yours would say"),
    "block.released": _("The account may be signed in to again after wrong passwords"),
    "mail.given_up": _("A mail to you could not be sent"),
    "mail.retried": _("A mail to you is sent again"),
    "service.bootstrapped": _("The account was created, the first of this service"),
    "access": _("Something was refused that the account may not do"),
}
"""By event. One that is not here is told as what it is called."""
SIGNED_IN = _("You signed in")
REFUSED: Final[Mapping[str, str]] = {
    "wrong password": _("Somebody gave a wrong password"),
    "wrong code": _("Somebody gave a wrong code after the right password"),
    "second factor needed": _("Somebody gave the right password, and no second factor"),
    "disabled": _("Somebody tried to sign in while the account was disabled"),
}
"""By why a login was refused."""
NOT_LET_IN = _("Somebody tried to sign in and was not let in")
OTHER = _("Something else: %(event)s")


class Told(NamedTuple):
    at: datetime
    words: str
    application: str | None
    by: str | None
    """Who it was, where it was not the user."""
    address: str | None
    """From where; not of others who did what they may."""
    bad: bool
    """Whether somebody should look twice."""


def told(session: Session, user_id: str, events: Sequence[AuditEvent]) -> list[Told]:
    clients = named(session, {each.client_id for each in events if each.client_id})
    return [_told(each, user_id, clients) for each in events]


def _told(event: AuditEvent, user_id: str, clients: Mapping[str, str]) -> Told:
    own = event.actor in (user_id, None)
    return Told(
        event.at,
        _words(event),
        clients.get(event.client_id, event.client_id) if event.client_id else None,
        None if own else _by(event.actor_type),
        event.address if own else None,
        event.outcome == "refused" or event.event.endswith(".replayed"),
    )


def _words(event: AuditEvent) -> str:
    if event.event == "login":
        if event.outcome == "success":
            return SIGNED_IN
        return REFUSED.get(str(event.detail.get("why", "")), NOT_LET_IN)
    return WORDS.get(event.event) or OTHER % {"event": event.event}


def _by(actor_type: str) -> str | None:
    known: dict[str, Any] = {
        "user": _("by an administrator"),
        "cli": _("by an administrator"),
        "client": _("by an application"),
        "system": _("by the service itself"),
    }
    return known.get(actor_type)
