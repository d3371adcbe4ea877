"""New users of a batch, by one statement for each table."""

from typing import Any

from sqlalchemy import insert
from sqlmodel import Session

from identity.clock import utcnow
from identity.directory.hashes import kinds
from identity.directory.subjects import Subject
from identity.directory.users import profile
from identity.directory.users.table import LoginName, User, UserRole
from identity.opaque import new_id
from identity.records import audit
from identity.records.audit import AuditEvent
from identity.service.importing.rows import Row


def insert_all(session: Session, rows: list[Row]) -> None:
    """In order of their names: two imports at once take turns."""
    if not rows:
        return
    now = utcnow()
    users, logins, roles, events = [], [], [], []
    for row in rows:
        user_id = new_id()
        users.append(
            {
                "id": user_id,
                "username": row.username,
                "email": row.email,
                "email_verified": bool(row.email_verified),
                "name": row.name,
                **profile.UNKNOWN,
                **row.known,
                "status": row.status or "active",
                "password_hash": row.password_hash,
                "must_change_password": row.must_change,
                "password_expires_at": row.password_expires_at,
                "version": 1,
                "created_at": now,
                "updated_at": now,
            }
        )
        logins += [
            {"name": key, "user_id": user_id}
            for key in dict.fromkeys((row.key, row.email_key))
            if key
        ]
        roles += [{"user_id": user_id, "role": role} for role in row.roles or ()]
        created: dict[str, Any] = {"username": row.username, "roles": row.roles, "imported": True}
        events.append(audit.event("user.created", subject=user_id, **created))
    kinds.note(session, *(row.password_hash for row in rows))
    subjects = [{"id": user["id"], "type": "user"} for user in users]
    users.sort(key=lambda user: user["username"])
    logins.sort(key=lambda login: login["name"])
    tables = ((Subject, subjects), (User, users), (LoginName, logins), (UserRole, roles))
    for model, values in tables:
        if values:
            session.execute(insert(model), values)
    session.execute(insert(AuditEvent), events)
