"""What is wrong, or soon will be, as far as the database knows: for `identity doctor`, and for the
console, which says it in the reader's language, asks often and so asks nothing that takes long."""

from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from sqlmodel import Session, col, func, select

from identity.authentication import blocks
from identity.authentication.mail.outbox import OutgoingMail
from identity.clock import utcnow
from identity.directory.access.granting import ADMIN
from identity.directory.access.table import Role
from identity.directory.users.table import User, UserRole
from identity.keys import transitions
from identity.records.audit import AuditEvent
from identity.service.demonstration.table import marked
from identity.service.findings import Command, Finding, Findings, Sentence
from identity.settings import Settings
from identity.tokens.logouts import LogoutNotice

LATE = timedelta(minutes=15)

KEY = Sentence("signing key")
USERS = Sentence("users")
ROLE_ADMIN = Sentence("role admin")
SEALS = Sentence("audit")
LOGOUTS = Sentence("logouts")
MAILS = Sentence("mails")
BLOCKS = Sentence("blocks")
"""What findings are about."""
NOTHING = Command("")


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


def _found(
    level: Literal["ok", "note", "problem"],
    what: Sentence,
    words: Sentence,
    mend: Sentence | Command = NOTHING,
) -> Finding:
    """All of it can be said in another language."""
    return Finding(level, what, words, mend)


def _signing_key(settings: Settings, session: Session, serves: str) -> Findings:
    active = transitions.find(session, "active", serves)
    pending = transitions.find(session, "next", serves)
    if active is None:
        made = Sentence("none yet; the first start makes one")
        if serves:
            made = Sentence(
                "none for %(audience)s yet, which an audience has chosen; the service makes it",
                audience=serves,
            )
        if pending is not None:
            made = Sentence(
                "%(algorithm)s %(key)s... signs once verifiers know it",
                algorithm=pending.algorithm, key=pending.kid[:12],
            )  # fmt: skip
        yield _found("note", KEY, made)
        return
    age = utcnow() - (active.activated_at or active.created_at)
    words = Sentence(
        "%(algorithm)s %(key)s..., in use for %(age)s",
        algorithm=active.algorithm, key=active.kid[:12], age=_days(age),
    )  # fmt: skip
    late = age > settings.keys.key_rotation + timedelta(minutes=5)
    if late and (pending is None or pending.not_before < utcnow() - timedelta(minutes=5)):
        due = _days(settings.keys.key_rotation)
        yield _found(
            "problem", KEY, Sentence("%(words)s, though %(due)s is due", words=words, due=due),
            Sentence("the running service rotates it; start it, or run `identity keys rotate`"),
        )  # fmt: skip
        return
    yield _found("ok", KEY, words)
    wanted = settings.keys.algorithm_for(serves)
    if active.algorithm != wanted and not active.imported and pending is None:
        yield _found(
            "note", KEY, Sentence("the setting says %(algorithm)s", algorithm=wanted),
            Sentence("it is changed at the next start"),
        )  # fmt: skip


def administrators(_: Settings, session: Session) -> Findings:
    count = session.exec(
        select(func.count()).select_from(UserRole).join(User)
        .where(UserRole.role == ADMIN, User.status == "active")
    ).one()  # fmt: skip
    if count:
        yield _found("ok", USERS, Sentence("%(count)s of them active administrators", count=count))
    else:
        yield _found(
            "problem", USERS, Sentence("no active user has the role admin"),
            Command("identity users grant USER admin"),
        )  # fmt: skip


def administrators_factor(_: Settings, session: Session) -> Findings:
    """Whether whoever learns an administrator's password is one."""
    role = session.get(Role, ADMIN)
    if role is None or role.acr is not None:
        yield _found(
            "ok", ROLE_ADMIN, Sentence("counts only for who has signed in with a second factor")
        )
        return
    holders = select(func.count()).select_from(UserRole).join(User).where(UserRole.role == ADMIN)
    bare = session.exec(
        holders.where(User.status == "active", col(User.second_factor).is_(False))
    ).one()
    words = Sentence("whoever learns an administrator's password can do all that they can")
    command = Command("identity roles update admin --acr aal2")
    mend = Sentence(
        "%(count)s of them have no second factor: they set one up at /account/factors; %(command)s",
        count=bare, command=command,
    )  # fmt: skip
    yield _found("note", ROLE_ADMIN, words, mend if bare else command)


def demonstration(settings: Settings, session: Session) -> Findings:
    if settings.production and marked(session, "itself"):
        yield _found(
            "problem", USERS, Sentence("the people of a demonstration are among them, and have one "
            "password that was shown"), Command("identity demo --remove"),
        )  # fmt: skip


def sealing(_: Settings, session: Session) -> Findings:
    old = utcnow() - timedelta(minutes=1)
    waiting = session.exec(
        select(func.count()).where(col(AuditEvent.seq).is_(None), AuditEvent.at < old)
    ).one()
    if waiting:
        yield _found(
            "note", SEALS,
            Sentence("%(count)s events wait to be sealed for over a minute", count=waiting),
            Sentence("the running service does that; start it"),
        )  # fmt: skip
    else:
        yield _found("ok", SEALS, Sentence("sealed; `identity audit verify` checks the chain"))


def outbox(_: Settings, session: Session) -> Findings:
    late = col(LogoutNotice.noted_at) < utcnow() - LATE
    given_up = col(LogoutNotice.given_up_at).is_not(None)
    query = select(LogoutNotice.client_id, func.count()).where(late | given_up)
    stuck = session.exec(query.group_by(LogoutNotice.client_id).order_by(LogoutNotice.client_id))
    rows = stuck.all()
    for client_id, count in rows[:5]:
        yield _found(
            "note", LOGOUTS,
            Sentence("%(client)s could not be told of %(count)s that ended", client=client_id,
                     count=count),
            Sentence("GET /clients/{id}/logouts says why; is its backchannel_logout_uri right?"),
        )  # fmt: skip
    if not rows:
        yield _found("ok", LOGOUTS, Sentence("clients have been told"))


def mails(settings: Settings, session: Session) -> Findings:
    late = col(OutgoingMail.noted_at) < utcnow() - LATE
    unsent = col(OutgoingMail.sent_at).is_(None)
    query = select(func.count()).where(unsent, late | col(OutgoingMail.given_up_at).is_not(None))
    stuck = session.exec(query.select_from(OutgoingMail)).one()
    if stuck:
        yield _found(
            "note", MAILS, Sentence("%(count)s could not be sent", count=stuck),
            Sentence(
                "`identity mail list` says why, `identity mail test ADDRESS` what the server says"
            ),
        )  # fmt: skip
    elif not settings.sends_mail:
        yield _found(
            "note", MAILS, Sentence("none are sent: IDENTITY_SMTP_URL is not set"),
            Sentence("without mails nobody can reset a password, be invited, or hear of what "
                     "happens to their account"),
        )  # fmt: skip
    else:
        yield _found("ok", MAILS, Sentence("have been sent"))


def blocked(_: Settings, session: Session) -> Findings:
    """Not who is held up at one address: people mistype their passwords all day."""
    count = blocks.count_wide(session)
    if count:
        yield _found(
            "note", BLOCKS,
            Sentence("failed logins hold up more than one at one address: %(count)s", count=count),
            Sentence("`identity blocks list` says which; somebody may be guessing passwords"),
        )  # fmt: skip
    else:
        yield _found("ok", BLOCKS, Sentence("nobody is held up everywhere"))


def _days(span: timedelta) -> Sentence:
    hours = span.total_seconds() / 3600
    if hours >= 48:
        return Sentence("%(count)s days", count=hours / 24)
    return Sentence("%(count)s hours", count=hours)
