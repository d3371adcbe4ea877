"""Filters beside a search or an order: the same users as a look at all of them, for work that does
not grow with how many there are."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from sqlmodel import Session, insert, select

from identity.clock import utcnow
from identity.directory.access import editing
from identity.directory.users import listing, narrowing, searching
from identity.directory.users.listing import ORDERS, Order, Wanted
from identity.directory.users.table import LoginName, User, UserRole
from identity.store import Database

NOW = utcnow()
DAY = timedelta(days=1)
SMALL = ((2, 3), (3, 40), (2_000, 10_000))
"""Of `FEW` and `STRETCH`: so small that each way is gone, and as they are."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def choose(few: int, stretch: int) -> None:
        monkeypatch.setattr(narrowing, "FEW", few)
        monkeypatch.setattr(listing, "STRETCH", stretch)
        monkeypatch.setattr(searching, "STRETCH", min(stretch, 1_000))

    return choose


def fill(session: Session, begin: int, end: int) -> None:
    """Every second has the role `many`, some of the first `few`, every 50th is disabled, every
    third has never logged in; the longest ago are the last ones."""
    users, logins, roles = [], [], []
    for n in range(begin, end):
        user_id = f"user-{n:06}"
        users.append(
            {
                "id": user_id, "username": f"name{n:06}", "name": f"Ada {n:06}",
                "status": "active" if n % 50 else "disabled", "email_verified": False,
                "must_change_password": False, "version": 1, "created_at": NOW, "updated_at": NOW,
                "last_login_at": NOW - n * DAY / 100 if n % 3 else None,
            }
        )  # fmt: skip
        logins.append({"name": f"name{n:06}", "user_id": user_id})
        roles += [{"user_id": user_id, "role": "many"}] if n % 2 else []
        roles += [{"user_id": user_id, "role": "few"}] if n % 97 == 0 and n < 1_000 else []
    for table, rows in ((User, users), (LoginName, logins), (UserRole, roles)):
        session.execute(insert(table), rows)


def roles(session: Session) -> None:
    for name in ("many", "few", "none"):
        editing.create_role(session, name=name, held=None)


def everything(db: Database, wanted: Wanted, order: Order) -> list[str]:
    """Of all pages."""
    found: list[str] = []
    after = None
    while True:
        with db.snapshot() as session:
            users, after = listing.page(session, wanted, order, after=after, most=30)
            assert len(users) <= 30
            found += [user.id for user in users]
        if after is None:
            return found


def expected(everybody: list[User], held: set[Any], wanted: Wanted, order: Order) -> list[str]:
    """By looking at everybody."""
    before = wanted.last_login_before
    left = [
        user
        for user in everybody
        if (wanted.status in (None, user.status))
        and (wanted.role is None or (user.id, wanted.role) in held)
        and (before is None or (user.last_login_at is not None and user.last_login_at < before))
        and wanted.never_logged_in in (None, user.last_login_at is None)
        and (order == "created" or user.last_login_at is not None)
        and (not wanted.search or user.username.startswith(wanted.search))
    ]
    if order == "created":
        return [user.id for user in sorted(left, key=lambda user: user.id)]
    newest = order == "-last_login"
    ordered = sorted(left, key=lambda user: (user.last_login_at, user.id), reverse=newest)
    return [user.id for user in ordered]


def test_pages_have_whom_a_look_at_everybody_finds_in_the_same_order(
    db: Database, small: Callable[[int, int], None]
) -> None:
    with db.transaction() as session:
        roles(session)
        fill(session, 0, 120)
    with db.snapshot() as session:
        everybody = list(session.exec(select(User)))
        held = {(each.user_id, each.role) for each in session.exec(select(UserRole))}
        session.expunge_all()
    combined = [
        Wanted(search=search, status=status, role=role, last_login_before=before,
               never_logged_in=never)
        for search, status, role, before, never in product(
            (None, "name0000"), (None, "disabled", "active"), (None, "many", "few", "none"),
            (None, NOW - DAY / 2), (None, True, False),
        )
    ]  # fmt: skip
    tried = 0
    for at, wanted in enumerate(combined[::5]):
        for order in ORDERS if not wanted.search else ORDERS[:1]:
            small(*SMALL[at % len(SMALL)])
            assert everything(db, wanted, order) == expected(everybody, held, wanted, order), (
                wanted,
                order,
            )
            tried += 1
    assert tried > 40


LISTS: list[tuple[Wanted, Order]] = [
    (Wanted(last_login_before=NOW - 10 * DAY), "created"),
    (Wanted(last_login_before=NOW - 4 * DAY), "created"),
    (Wanted(last_login_before=NOW - 4 * DAY, role="few"), "last_login"),
    (Wanted(last_login_before=NOW - 4 * DAY, status="disabled"), "-last_login"),
    (Wanted(role="none", status="active"), "created"),
    (Wanted(role="few", never_logged_in=True), "created"),
    (Wanted(status="disabled", role="many"), "created"),
    (Wanted(never_logged_in=True, status="disabled"), "created"),
    (Wanted(search="n", role="few"), "created"),
    (Wanted(search="n", role="none"), "created"),
    (Wanted(search="a", status="disabled", role="few"), "created"),
    (Wanted(search="name", last_login_before=NOW - 9 * DAY), "created"),
    (Wanted(search="ada", never_logged_in=True, status="disabled", role="many"), "created"),
]


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_page_takes_no_more_steps_for_five_times_the_users(
    db: Database, small: Callable[[int, int], None]
) -> None:
    """Counted by SQLite's own machine, so that no clock is asked."""
    small(20, 60)

    def steps(wanted: Wanted, order: Order) -> int:
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        with db.snapshot() as session:
            raw: Any = session.connection().connection.driver_connection
            raw.set_progress_handler(step, 50)
            listing.page(session, wanted, order, most=10)
            raw.set_progress_handler(None, 0)
        return count

    with db.transaction() as session:
        roles(session)
        fill(session, 0, 1_200)
    before = [steps(wanted, order) for wanted, order in LISTS]
    with db.transaction() as session:
        fill(session, 1_200, 6_000)
    for (wanted, order), few in zip(LISTS, before, strict=True):
        assert steps(wanted, order) <= few * 2 + 10, (wanted, order, few)


def test_a_short_page_leads_on_and_the_last_one_does_not(
    db: Database, small: Callable[[int, int], None]
) -> None:
    small(2, 30)
    with db.transaction() as session:
        roles(session)
        fill(session, 0, 100)
    wanted = Wanted(status="active", role="few")  # the first, which is disabled, and the 98th
    with db.snapshot() as session:
        small(0, 30)
        first = listing.page(session, wanted, most=5)
        assert first.users == [] and first.after is not None
        rest = first
        for _ in range(3):
            rest = listing.page(session, wanted, after=rest.after, most=5)
        assert [user.id for user in rest.users] == ["user-000097"] and rest.after is None
