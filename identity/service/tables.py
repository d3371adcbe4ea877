"""Every table of the service, for migrations: importing this fills the metadata of `Stored`.

Partial indexes are here and not beside their tables. SQLAlchemy looks up what they say in the
dialects of both databases, and PostgreSQL's is two megabytes that a service on SQLite, which does
not import this, can do without.
"""

from typing import Any

from sqlalchemy import Index
from sqlmodel import col

from identity.authentication.devices import KnownDevice
from identity.authentication.enrolment import EnrolmentLink
from identity.authentication.mail.links import MailLink
from identity.authentication.mail.outbox import OutgoingMail
from identity.authentication.once import UsedOnce
from identity.authentication.passkeys.table import Passkey
from identity.authentication.recovery import RecoveryCode
from identity.authentication.throttle import KnownAddress, LoginFailure
from identity.authentication.totp import Totp
from identity.directory.access import table as access
from identity.directory.branding.table import Branding, Logo
from identity.directory.clients import table as clients
from identity.directory.configured import Configured
from identity.directory.consents import Consent
from identity.directory.hashes.kinds import PasswordKind
from identity.directory.issuers.table import TrustedIssuer
from identity.directory.subjects import Subject
from identity.directory.users import table as users
from identity.keys import table as keys
from identity.records.audit import AuditArchive, AuditEvent, AuditHead
from identity.service.demonstration.table import Demonstration
from identity.service.served import Served
from identity.store import Stored
from identity.store.table import Change
from identity.tokens import table as tokens
from identity.tokens.codes import AuthorizationCode
from identity.tokens.devices.table import DeviceAuthorization
from identity.tokens.exchanged import ExchangedToken
from identity.tokens.lockdown import Lockdown
from identity.tokens.logouts import LogoutNotice
from identity.tokens.pushed import PushedRequest
from identity.tokens.sessions import table as sessions
from identity.tokens.status import table as status

TABLES = (
    Change,
    AuditEvent,
    AuditHead,
    AuditArchive,
    LoginFailure,
    KnownAddress,
    UsedOnce,
    PasswordKind,
    keys.SigningKey,
    keys.KeyFollower,
    access.Scope,
    access.Role,
    access.RoleScope,
    Subject,
    users.User,
    users.LoginName,
    users.UserRole,
    Totp,
    Passkey,
    RecoveryCode,
    clients.Client,
    clients.ClientSecret,
    clients.ClientRegistration,
    TrustedIssuer,
    Configured,
    sessions.BrowserSession,
    sessions.LoginSession,
    sessions.Family,
    sessions.RefreshToken,
    Consent,
    AuthorizationCode,
    PushedRequest,
    DeviceAuthorization,
    ExchangedToken,
    LogoutNotice,
    OutgoingMail,
    MailLink,
    KnownDevice,
    EnrolmentLink,
    Demonstration,
    tokens.RevokedToken,
    status.StatusBlock,
    status.RevokedPlace,
    Served,
    Lockdown,
    Branding,
    Logo,
)


def _partial(name: str, *columns: Any, where: Any, unique: bool = False) -> None:
    Index(name, *map(col, columns), unique=unique, sqlite_where=where, postgresql_where=where)


_partial("ix_audit_event_unsealed", AuditEvent.id, where=col(AuditEvent.seq).is_(None))
# At most one key in either state that serves the same, whichever processes are at work: the
# database sees to it.
_serves, _state = keys.SigningKey.serves, col(keys.SigningKey.state)
_partial("uq_signing_key_serves_active", _serves, where=_state == "active", unique=True)
_partial("uq_signing_key_serves_next", _serves, where=_state == "next", unique=True)

# One live session of a client below one browser session, whichever codes are redeemed at once.
_below, _at = sessions.LoginSession.browser_session_id, sessions.LoginSession.client_id
_live = col(_below).is_not(None) & col(sessions.LoginSession.ended_at).is_(None)
_partial("uq_session_browser_client", _below, _at, where=_live, unique=True)

# Offline ones, of which somebody asks when their browser session ends.
_began, _offline = sessions.LoginSession.signed_in_at, col(_below).is_(None)
_partial("ix_session_signed_in_at", _began, where=col(_began).is_not(None) & _offline)

# Of what administrators look for among everybody's.
_partial("ix_login_failure_locked", LoginFailure.key, where=col(LoginFailure.locked).is_(True))
_lives = col(sessions.LoginSession.ended_at).is_(None)
_where, _which = sessions.LoginSession.address, sessions.LoginSession.id
_partial("ix_session_address", _where, _which, where=_lives)
_browser = sessions.BrowserSession
_lives = col(_browser.ended_at).is_(None)
_partial("ix_browser_session_address", _browser.address, _browser.id, where=_lives)
_due = users.User.deletion_due_at
_partial("ix_user_account_deletion_due_at", _due, where=col(_due).is_not(None))

_waits = col(LogoutNotice.given_up_at).is_(None)
_partial("ix_logout_notice_due", LogoutNotice.due_at, where=_waits)

_unsent = col(OutgoingMail.sent_at).is_(None) & col(OutgoingMail.given_up_at).is_(None)
_partial("ix_mail_outbox_due", OutgoingMail.due_at, where=_unsent)

metadata = Stored.metadata
