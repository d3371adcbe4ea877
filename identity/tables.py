"""Every table of the service, for migrations: importing this fills `SQLModel.metadata`."""

from sqlmodel import SQLModel

from identity.access import table as access
from identity.audit import AuditEvent, AuditHead
from identity.changes import Change
from identity.clients import table as clients
from identity.keys import table as keys
from identity.sessions import table as sessions
from identity.status import table as status
from identity.throttle import KnownAddress, LoginFailure
from identity.tokens import table as tokens
from identity.users import table as users

TABLES = (
    Change,
    AuditEvent,
    AuditHead,
    LoginFailure,
    KnownAddress,
    keys.SigningKey,
    access.Scope,
    access.Role,
    access.RoleScope,
    users.User,
    users.LoginName,
    users.UserRole,
    clients.Client,
    clients.ClientSecret,
    sessions.LoginSession,
    sessions.RefreshToken,
    tokens.RevokedToken,
    status.StatusBlock,
    status.RevokedPlace,
)

metadata = SQLModel.metadata
