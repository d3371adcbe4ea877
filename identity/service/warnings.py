"""What is wrong, or soon will be, as far as the database knows: for `identity doctor`, and for the
console, which asks often and so asks nothing that takes long."""

from collections.abc import Callable
from datetime import timedelta

from sqlmodel import Session, col, func, select

from identity.authentication import blocks
from identity.authentication.mail.outbox import OutgoingMail
from identity.clock import utcnow
from identity.directory.access.granting import ADMIN
from identity.directory.access.table import Role
from identity.directory.users.table import User, UserRole
from identity.keys import rotation
from identity.records.audit import AuditEvent
from identity.service.demonstration.table import marked
from identity.service.findings import Finding, Findings
from identity.settings import Settings
from identity.tokens.logouts import LogoutNotice

LATE = timedelta(minutes=15)


def warnings(session: Session, settings: Settings, *, all_of_them: bool = False) -> list[Finding]:
    """What is not as it should be; `all_of_them`: also what is."""
    checks: tuple[Callable[[Settings, Session], Findings], ...] = (
        signing_keys, administrators, administrators_factor, demonstration, sealing, outbox,
        mails, blocked,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(settings, session)]
    return [each for each in found if all_of_them or each.level != "ok"]


def signing_keys(settings: Settings, session: Session) -> Findings:
    for serves in settings.keys.served:
        yield from _signing_key(settings, session, serves)


def _signing_key(settings: Settings, session: Session, serves: str) -> Findings:
    active = rotation.find(session, "active", serves)
    pending = rotation.find(session, "next", serves)
    if active is None:
        made = "none yet; the first start makes one"
        if serves:
            made = f"none for {serves} yet, which an audience has chosen; the service makes it"
        if pending is not None:
            made = f"{pending.algorithm} {pending.kid[:12]}... signs once verifiers know it"
        yield Finding("note", "signing key", made)
        return
    age = utcnow() - (active.activated_at or active.created_at)
    words = f"{active.algorithm} {active.kid[:12]}..., in use for {_days(age)}"
    late = age > settings.keys.key_rotation + timedelta(minutes=5)
    if late and (pending is None or pending.not_before < utcnow() - timedelta(minutes=5)):
        yield Finding(
            "problem", "signing key", f"{words}, though {_days(settings.keys.key_rotation)} is due",
            "the running service rotates it; start it, or run `identity keys rotate`",
        )  # fmt: skip
        return
    yield Finding("ok", "signing key", words)
    wanted = settings.keys.algorithm_for(serves)
    if active.algorithm != wanted and not active.imported and pending is None:
        yield Finding(
            "note", "signing key", f"the setting says {wanted}", "it is changed at the next start"
        )


def administrators(_: Settings, session: Session) -> Findings:
    count = session.exec(
        select(func.count()).select_from(UserRole).join(User)
        .where(UserRole.role == ADMIN, User.status == "active")
    ).one()  # fmt: skip
    if count:
        yield Finding("ok", "users", f"{count} of them active administrators")
    else:
        yield Finding(
            "problem", "users", "no active user has the role admin",
            "identity users grant USER admin",
        )  # fmt: skip


def administrators_factor(_: Settings, session: Session) -> Findings:
    """Whether whoever learns an administrator's password is one."""
    role = session.get(Role, ADMIN)
    if role is None or role.acr is not None:
        yield Finding("ok", "role admin", "counts only for who has signed in with a second factor")
        return
    holders = select(func.count()).select_from(UserRole).join(User).where(UserRole.role == ADMIN)
    bare = session.exec(
        holders.where(User.status == "active", col(User.second_factor).is_(False))
    ).one()
    words = "whoever learns an administrator's password can do all that they can"
    mend = "identity roles update admin --acr aal2"
    if bare:
        mend = f"{bare} of them have no second factor: they set one up at /account/factors; {mend}"
    yield Finding("note", "role admin", words, mend)


def demonstration(settings: Settings, session: Session) -> Findings:
    if settings.production and marked(session, "itself"):
        yield Finding(
            "problem", "users", "the people of a demonstration are among them, and have one "
            "password that was shown", "identity demo --remove",
        )  # fmt: skip


def sealing(_: Settings, session: Session) -> Findings:
    old = utcnow() - timedelta(minutes=1)
    waiting = session.exec(
        select(func.count()).where(col(AuditEvent.seq).is_(None), AuditEvent.at < old)
    ).one()
    if waiting:
        yield Finding(
            "note", "audit", f"{waiting} events wait to be sealed for over a minute",
            "the running service does that; start it",
        )  # fmt: skip
    else:
        yield Finding("ok", "audit", "sealed; `identity audit verify` checks the chain")


def outbox(_: Settings, session: Session) -> Findings:
    late = col(LogoutNotice.noted_at) < utcnow() - LATE
    given_up = col(LogoutNotice.given_up_at).is_not(None)
    query = select(LogoutNotice.client_id, func.count()).where(late | given_up)
    stuck = session.exec(query.group_by(LogoutNotice.client_id).order_by(LogoutNotice.client_id))
    rows = stuck.all()
    for client_id, count in rows[:5]:
        yield Finding(
            "note", "logouts", f"{client_id} could not be told of {count} that ended",
            "GET /clients/{id}/logouts says why; is its backchannel_logout_uri right?",
        )  # fmt: skip
    if not rows:
        yield Finding("ok", "logouts", "clients have been told")


def mails(settings: Settings, session: Session) -> Findings:
    late = col(OutgoingMail.noted_at) < utcnow() - LATE
    unsent = col(OutgoingMail.sent_at).is_(None)
    query = select(func.count()).where(unsent, late | col(OutgoingMail.given_up_at).is_not(None))
    stuck = session.exec(query.select_from(OutgoingMail)).one()
    if stuck:
        yield Finding(
            "note", "mails", f"{stuck} could not be sent",
            "`identity mail list` says why, `identity mail test ADDRESS` what the server says",
        )  # fmt: skip
    elif not settings.sends_mail:
        yield Finding(
            "note", "mails", "none are sent: IDENTITY_SMTP_URL is not set",
            "without mails nobody can reset a password, be invited, or hear of what happens to "
            "their account",
        )  # fmt: skip
    else:
        yield Finding("ok", "mails", "have been sent")


def blocked(_: Settings, session: Session) -> Findings:
    """Not who is held up at one address: people mistype their passwords all day."""
    count = blocks.count_wide(session)
    if count:
        yield Finding(
            "note", "blocks", f"failed logins hold up more than one at one address: {count}",
            "`identity blocks list` says which; somebody may be guessing passwords",
        )  # fmt: skip
    else:
        yield Finding("ok", "blocks", "nobody is held up everywhere")


def _days(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
