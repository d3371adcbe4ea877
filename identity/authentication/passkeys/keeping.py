"""A user's passkeys: made, named, taken away. Each function is part of the caller's unit of work,
which has locked the user's row."""

from sqlmodel import Session, col, delete, func, select

from identity.authentication.passkeys.ceremonies import Made
from identity.authentication.passkeys.table import Passkey
from identity.errors import Conflict, NotFound, ValidationFailed
from identity.records import audit
from identity.store import insert_unique

MOST = 20
"""A user may have so many."""
LONGEST_NAME = 100


def of_user(session: Session, user_id: str) -> list[Passkey]:
    """Oldest first."""
    query = select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.id)
    return list(session.exec(query).all())


def get(session: Session, user_id: str, passkey_id: str) -> Passkey:
    """`NotFound` where it is none of theirs."""
    query = select(Passkey).where(Passkey.id == passkey_id, Passkey.user_id == user_id)
    found = session.exec(query).first()
    if found is None:
        raise NotFound("no such passkey")
    return found


def count(session: Session, user_id: str) -> int:
    return session.exec(select(func.count()).where(col(Passkey.user_id) == user_id)).one()


def check_room(session: Session, user_id: str) -> None:
    if count(session, user_id) >= MOST:
        raise Conflict(f"there are {MOST} passkeys already: remove one first")


def add(session: Session, user_id: str, rp_id: str, made: Made, name: str) -> Passkey:
    """`Conflict` where there are too many, or somebody has this one already."""
    check_room(session, user_id)
    passkey = Passkey(user_id=user_id, rp_id=rp_id, name=checked_name(name), **vars(made))
    insert_unique(session, passkey, Conflict("this passkey has been added already"))
    audit.record(
        session, "factor.added", subject=user_id, kind="passkey", passkey=passkey.id,
        called=passkey.name,
    )  # fmt: skip
    return passkey


def rename(session: Session, user_id: str, passkey_id: str, name: str) -> Passkey:
    passkey, name = get(session, user_id, passkey_id), checked_name(name)
    if passkey.name != name:
        audit.record(
            session, "passkey.renamed", subject=user_id, passkey=passkey.id,
            before=passkey.name, after=name,
        )  # fmt: skip
        passkey.name = name
        session.add(passkey)
        session.flush()
    return passkey


def trust(session: Session, user_id: str, passkey_id: str) -> Passkey:
    """Its owner says that nobody else has it, whatever its counter says."""
    passkey = get(session, user_id, passkey_id)
    if passkey.doubted_at is not None:
        passkey.doubted_at = None
        session.add(passkey)
        session.flush()
        audit.record(session, "passkey.trusted", subject=user_id, passkey=passkey.id)
    return passkey


def remove(session: Session, user_id: str, passkey_id: str) -> None:
    passkey = get(session, user_id, passkey_id)
    session.delete(passkey)
    session.flush()
    audit.record(
        session, "factor.removed", subject=user_id, kind="passkey", passkey=passkey_id,
        called=passkey.name,
    )  # fmt: skip


def remove_all(session: Session, user_id: str) -> None:
    session.exec(delete(Passkey).where(col(Passkey.user_id) == user_id))


def elsewhere(session: Session, rp_id: str) -> dict[str, int]:
    """How many passkeys belong to which other domain: none of them is good here."""
    query = (
        select(Passkey.rp_id, func.count()).where(Passkey.rp_id != rp_id).group_by(Passkey.rp_id)
    )
    return dict(session.exec(query).all())


def checked_name(name: str) -> str:
    """`ValidationFailed`."""
    name = " ".join(name.split())
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        words = f"must be 1 to {LONGEST_NAME} characters that can be shown"
        raise ValidationFailed([("/name", words)])
    return name
