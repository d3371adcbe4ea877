"""`identity demo`: a console that lives, and nothing left of it but the audit."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select as select_rows
from sqlmodel import Session, func, select

from identity import clock
from identity.authentication.passwords.hashing import PasswordHasher
from identity.clock import utcnow
from identity.directory.access.granting import ADMIN
from identity.directory.access.table import RoleScope
from identity.directory.clients.table import Client
from identity.directory.users import accounts
from identity.directory.users.table import User, UserRole
from identity.errors import Conflict
from identity.keys import master
from identity.oauth.grants.registry import GRANTS
from identity.records.audit import AuditEvent
from identity.service.counting import counted
from identity.service.demonstration import building, removing
from identity.service.demonstration.people import HOW_MANY
from identity.service.demonstration.table import marked
from identity.service.tables import metadata
from identity.settings import Settings, SettingsError
from identity.store import Database
from identity.store.table import Change
from identity.tokens.sessions.table import BrowserSession, LoginSession

Identity = Callable[..., Any]
STAY = {"audit_event", "audit_head", "change", "subject", "password_kind", "served"}
"""Tables that only grow, or are about no person and no application."""


@pytest.fixture
def first_start() -> bool:
    """There has been one: there is an administrator."""
    return True


FEW = 12


def build(db: Database, settings: Settings, seed: int = 1) -> building.Built:
    """Of some people, which is quicker."""
    with db.transaction() as session:
        key = master.load(session, settings)
        return building.build(session, settings, key, GRANTS, seed, "one for all of them", FEW)


def everything(db: Database) -> dict[str, list[tuple[Any, ...]]]:
    """All rows, but that the role `admin` has been told of scopes that came and went."""
    with db.snapshot() as session:
        found = {
            table.name: sorted(tuple(map(str, row)) for row in session.execute(select_rows(table)))
            for table in metadata.sorted_tables
            if table.name not in STAY
        }
    found["role"] = [row[:2] for row in found["role"]]
    return found


def people(session: Session) -> list[tuple[Any, ...]]:
    users = session.exec(select(User).where(User.id.in_(marked(session, "user"))))  # type: ignore[attr-defined]
    return sorted(
        (u.username, u.status, u.second_factor, u.created_at, accounts.roles_of(session, u.id))
        for u in users
    )


def what_happened(session: Session) -> list[tuple[Any, ...]]:
    names = {user.id: user.username for user in session.exec(select(User))}
    query = select(AuditEvent).where(AuditEvent.request_id == "demonstration")
    return [
        (each.at, each.event, each.outcome, names.get(each.subject or ""), each.address)
        for each in session.exec(query.order_by(AuditEvent.id))  # type: ignore[arg-type]
    ]


def test_it_fills_the_console_and_the_chain_stays_whole(
    identity: Identity, db: Database, settings: Settings
) -> None:
    done = identity("demo")
    assert done.code == 0 and f"{HOW_MANY} users" in done.err, done.err
    with db.snapshot() as session:
        assert len(marked(session, "user")) == HOW_MANY
        assert 4 <= len(marked(session, "client")) <= 10
        stats = counted(session, 7 * 24)
        assert stats.users.total == HOW_MANY + 1 and stats.users.disabled > 0
        assert sum(hour.logins for hour in stats.hours) > 300
        assert sum(hour.failures for hour in stats.hours) > 60
        assert sum(hour.tokens for hour in stats.hours) > 500
        assert session.exec(select(func.count()).select_from(BrowserSession)).one() > 5
        newest = session.exec(select(func.max(AuditEvent.at))).one()
        assert newest <= utcnow()
        hashes = set(session.exec(select(User.password_hash).join(UserRole)).all())
        assert len(hashes) == 3, "the administrator's, one for all of them, and none"
        assert accounts.roles_of(session, marked(session, "user")[0]), "they hold something"
        admins = session.exec(select(UserRole.user_id).where(UserRole.role == ADMIN)).all()
        assert len(admins) == 1, "nobody of them is an administrator"
    verified = identity("audit", "verify")
    assert verified.code == 0 and "unsealed: 0" in verified.out
    shown = dict(line.split() for line in done.out.splitlines())
    with db.snapshot() as session:
        user = accounts.find_by_login(session, shown["username"])
        assert user is not None and user.status == "active" and not user.second_factor
        hasher = PasswordHasher(settings.passwords.bcrypt_rounds)
        assert hasher.verify(shown["password"], user.password_hash or "").ok


def test_it_goes_as_it_came_and_takes_nothing_along(
    identity: Identity, db: Database, settings: Settings
) -> None:
    with db.transaction() as session:
        accounts.create(session, username="ada", email="ada.novak@example.com")
    assert identity("roles", "create", "mine", "--scope", "users:read").code == 0
    assert identity("users", "grant", "ada", "mine").code == 0
    before = everything(db)
    build(db, settings)
    assert everything(db) != before
    assert identity("demo", "--remove").code == 2, "it asks first"
    done = identity("demo", "--remove", "--yes")
    assert done.code == 0 and f"{FEW} users" in done.err, done.err
    after = everything(db)
    assert {name for name in before if before[name] != after[name]} == set()
    assert identity("audit", "verify").code == 0
    again = identity("demo", "--remove", "--yes")
    assert again.code == 1 and "no demonstration" in again.err
    built = build(db, settings)
    assert built.users == FEW, "and it can come again"


def test_sessions_of_its_users_have_ended_for_siblings_too(
    db: Database, settings: Settings
) -> None:
    """Whom nobody asks about a user, only about a session's place in the lists."""
    build(db, settings)
    with db.transaction() as session:
        user = session.get_one(User, marked(session, "user")[0])
        opened = LoginSession(
            user_id=user.id, client_id="demo-shop", scope="", audience="shop", amr=["pwd"],
            expires_at=utcnow() + timedelta(1), access_expires_at=utcnow() + timedelta(1),
        )  # fmt: skip
        session.add(opened)
    with db.transaction() as session:
        removing.remove(session)
    with db.snapshot() as session:
        told = session.exec(select(Change.ref).where(Change.kind == "session.ended")).all()
    assert opened.id in told


def test_what_somebody_deleted_or_made_of_it_meanwhile_is_no_trouble(
    identity: Identity, db: Database, settings: Settings
) -> None:
    built = build(db, settings)
    with db.transaction() as session:
        accounts.create(session, username="ada")
    assert identity("users", "grant", "ada", "demo-staff").code == 0
    assert identity("users", "delete", built.somebody, "--yes").code == 0
    assert identity("clients", "delete", "demo-shop", "--yes").code == 0
    assert identity("roles", "delete", "demo-support", "--yes").code == 0
    done = identity("demo", "--remove", "--yes")
    assert done.code == 0 and f"{FEW - 1} users, 4 clients" in done.err
    with db.snapshot() as session:
        user = accounts.find_by_login(session, "ada")
        assert user is not None and accounts.roles_of(session, user.id) == []
        assert session.exec(select(RoleScope).where(RoleScope.role == "demo-staff")).all() == []
        assert session.exec(select(func.count()).select_from(Client)).one() == 1


def test_what_somebody_made_under_a_name_of_it_is_theirs(
    identity: Identity, db: Database, settings: Settings
) -> None:
    build(db, settings)
    assert identity("roles", "delete", "demo-support", "--yes").code == 0
    assert identity("scopes", "delete", "demo.stock.read", "--yes").code == 0
    assert identity("clients", "delete", "demo-shop", "--yes").code == 0
    assert identity("scopes", "create", "demo.stock.read").code == 0
    assert identity("roles", "create", "demo-support", "--scope", "demo.stock.read").code == 0
    made = identity("clients", "create", "demo-shop", "--grant", "password")
    assert made.code == 0, made.err
    done = identity("demo", "--remove", "--yes")
    assert done.code == 0 and f"{FEW} users, 4 clients" in done.err
    with db.snapshot() as session:
        assert session.get(Client, "demo-shop") is not None
        held = session.exec(select(RoleScope.scope).where(RoleScope.role == "demo-support")).all()
        assert held == ["demo.stock.read"]
    assert identity("demo").code == 1, "their names are taken"
    assert identity("audit", "verify").code == 0


def test_the_last_administrator_does_not_go_with_it(
    identity: Identity, db: Database, settings: Settings
) -> None:
    built = build(db, settings)
    assert identity("users", "grant", built.somebody, "admin").code == 0
    assert identity("users", "disable", "admin").code == 0
    refused = identity("demo", "--remove", "--yes")
    assert refused.code == 1 and "last administrator" in refused.err
    with db.snapshot() as session:
        assert len(marked(session, "user")) == FEW, "none of it has gone"


def test_there_is_one_at_a_time_and_none_in_production(
    identity: Identity, db: Database, settings: Settings, make_settings: Callable[..., Any]
) -> None:
    build(db, settings)
    again = identity("demo")
    assert again.code == 1 and "identity demo --remove" in again.err
    production = make_settings(environment="production", bcrypt_rounds=12, test_weak_hashing=False)
    with pytest.raises(SettingsError, match="production"):
        build(db, production)
    with pytest.raises(Conflict):
        build(db, settings)
    from identity.service.warnings import warnings

    with db.snapshot() as session:
        found = [each for each in warnings(session, production) if each.level == "problem"]
        assert [each.mend for each in found] == ["identity demo --remove"]
    with db.transaction() as session:
        removing.remove(session)


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_the_same_seed_makes_the_same_people_who_do_the_same(
    identity: Identity, db: Database, settings: Settings
) -> None:
    made = []
    with clock.frozen() as hand:
        for seed in (7, 7, 8):
            build(db, settings, seed)
            with db.transaction() as session:
                happened = what_happened(session)
                made.append((people(session), happened[-500:]))
                removing.remove(session)
            hand.tick(0)
    assert made[0][0] == made[1][0] and made[0][1] == made[1][1]
    assert made[0][0] != made[2][0] and made[0][1] != made[2][1]


def test_no_mail_goes_out_for_it(
    db: Database, settings: Settings, make_settings: Callable[..., Any], tmp_path: Any
) -> None:
    from identity.authentication.mail import outbox
    from identity.service.opening import open_database

    mailing = make_settings(mail_folder=tmp_path / "mail")
    other = open_database(mailing)
    try:
        build(other, mailing)
        with other.transaction() as session:
            removing.remove(session)
        with other.snapshot() as session:
            assert outbox.waiting(session) == (0, 0)
    finally:
        other.close()


def test_events_lie_within_the_week(db: Database, settings: Settings) -> None:
    build(db, settings)
    with db.snapshot() as session:
        query = select(func.min(AuditEvent.at)).where(AuditEvent.event == "login")
        oldest = session.exec(query).one()
        assert utcnow() - oldest < timedelta(days=7, hours=1)
        logged_in = session.exec(
            select(User.last_login_at).where(User.last_login_at.is_not(None))  # type: ignore[union-attr]
        ).all()
        assert max(each for each in logged_in if each is not None) <= utcnow()
