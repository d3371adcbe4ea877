"""One box that finds users, whatever of them is typed, and lists by their last login."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from identity.clock import utcnow
from identity.directory.users import accounts, listing, names, narrowing
from identity.directory.users.table import User
from tests import acting
from tests.acting import Actor, pointers
from tests.world import World


async def found(boss: Actor, search: str, **params: Any) -> list[str]:
    """Usernames, of all pages."""
    usernames: list[str] = []
    params = {"search": search, "limit": 2, **params}
    while True:
        page = await boss.done("GET", "/users", params=params)
        usernames += [user["username"] for user in page["items"]]
        if page["next"] is None:
            return usernames
        params["after"] = page["next"]


def people(world: World) -> None:
    with world.change() as session:
        for username, email, name, family in (
            ("ada", "ada@example.com", "Ada Lovelace", "Lovelace"),
            ("adam", "adam@other.example", "Adam Smith", "Smith"),
            ("grace", "hopper@example.com", "Grace Hopper", "Hopper"),
            ("zoe", None, "Äda Öster", "Öster"),
            ("lovely", None, None, None),
        ):
            accounts.create(
                session, username=username, email=email, name=name, known={"family_name": family}
            )


async def test_users_are_found_by_the_beginning_of_whatever_they_are_called(world: World) -> None:
    people(world)
    boss = await acting.admin(world)
    assert await found(boss, "ADA") == ["ada", "adam"]
    assert await found(boss, "ada@") == ["ada"]
    assert await found(boss, "hop") == ["grace"]
    assert await found(boss, "Grace H") == ["grace"]
    assert await found(boss, "love") == ["ada", "lovely"]
    assert await found(boss, "smith") == ["adam"]
    assert await found(boss, "öst") == await found(boss, "ÖSTER") == ["zoe"]
    assert await found(boss, "äda ö") == ["zoe"]
    assert await found(boss, "nobody") == await found(boss, "da") == []
    user = (await boss.done("GET", "/users", params={"search": "zoe"}))["items"][0]
    assert await found(boss, user["id"]) == ["zoe"]
    assert await found(boss, user["id"].upper()) == ["zoe"]


async def test_a_search_goes_with_the_filters_and_with_no_order(world: World) -> None:
    people(world)
    boss = await acting.admin(world)
    (adam,) = (await boss.done("GET", "/users", params={"search": "adam"}))["items"]
    await boss.done("PATCH", f"/users/{adam['id']}", {"status": "disabled"})
    assert await found(boss, "ada", status="disabled") == ["adam"]
    assert await found(boss, "ada", status="active") == ["ada"]
    assert await found(boss, "a", role="admin") == ["admin"]
    assert await found(boss, "ada", never_logged_in=False) == []
    answer = await boss("GET", "/users", params={"search": "a", "order": "last_login"})
    assert pointers(answer) == {"?order"}


async def test_what_means_something_to_a_database_is_only_text(world: World) -> None:
    people(world)
    boss = await acting.admin(world)
    for text_ in (
        "%",
        "_da",
        "ada%",
        "'; DROP TABLE user_account; --",
        "\\",
        "a" * 200,
        "\U0010ffff",
    ):
        assert await found(boss, text_) == []


letters = st.text("aäAbB", min_size=1, max_size=3)  # SQLite knows no Ä to be an ä
users = st.lists(
    st.tuples(letters, st.none() | letters, st.none() | letters), min_size=1, max_size=12
)


async def test_each_is_found_once_in_one_order_as_a_look_at_all_of_them_finds_them(
    world: World,
) -> None:
    drawn: list[Any] = []

    @settings(max_examples=12, database=None, phases=[Phase.generate])
    @given(users, letters)
    def draw(some: Any, words: str) -> None:
        drawn.append((some, words))

    draw()
    boss = await acting.admin(world)
    for some, words in drawn:
        with world.change() as session:
            session.execute(text("DELETE FROM user_account WHERE username <> 'admin'"))
            called = {}
            for n, (username, name, family) in enumerate(some):
                user = accounts.create(
                    session, username=f"{username}{n}", name=name, known={"family_name": family}
                )
                called[user.username] = (user.username, name, family)
        expected = {
            username
            for username, called_so in called.items()
            if any(same(each or "", words) for each in called_so)
        }
        seen = [name for name in await found(boss, words) if name != "admin"]
        assert len(seen) == len(set(seen))
        assert set(seen) == expected, (some, words)


def same(called: str, words: str) -> bool:
    return called.casefold().startswith(words.casefold()) or names.login_key(called).startswith(
        names.login_key(words)
    )


async def test_lists_go_by_the_last_login_either_way(world: World) -> None:
    boss = await acting.admin(world)
    now = utcnow()
    with world.change() as session:
        for n, days in enumerate((3, 1, 2, 2)):
            user = accounts.create(session, username=f"user{n}")
            user.last_login_at = now - timedelta(days=days)
            session.add(user)
        accounts.create(session, username="never")

    async def listed(**params: Any) -> list[str]:
        names_: list[str] = []
        params["limit"] = 2
        while True:
            page = await boss.done("GET", "/users", params=params)
            names_ += [user["username"] for user in page["items"]]
            if page["next"] is None:
                return names_
            params["after"] = page["next"]

    assert await listed(order="last_login") == ["user0", "user2", "user3", "user1", "admin"]
    assert await listed(order="-last_login") == ["admin", "user1", "user3", "user2", "user0"]
    before = (now - timedelta(days=1, hours=12)).isoformat()
    dormant = await listed(order="last_login", last_login_before=before)
    assert dormant == ["user0", "user2", "user3"]
    assert await listed(never_logged_in=True) == ["never"]


@pytest.mark.parametrize("order", ["last_login", "-last_login"])
@pytest.mark.parametrize("after", ["YWRh", "MjAyNi0xMS0yOQpx", "bm90IGEgdGltZQp4", "Cg", "eAo"])
async def test_a_cursor_of_another_list_is_refused(world: World, order: str, after: str) -> None:
    boss = await acting.admin(world)
    for params in ({"order": order}, {"search": "a"}):
        answer = await boss("GET", "/users", params={**params, "after": after})
        if answer.status_code != 200:
            assert pointers(answer) == {"?after"}
        else:
            assert "search" in params


@pytest.mark.parametrize("few", [2, 2_000])
async def test_the_searching_lists_walk_indexes_alone(
    world: World, dialect: str, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """However many there are: no plan reads the table from end to end, or sorts what it found."""
    from sqlalchemy import event

    boss = await acting.admin(world)
    monkeypatch.setattr(narrowing, "FEW", few)
    monkeypatch.setattr(listing, "STRETCH", 50)
    with world.change() as session:
        now = utcnow()
        rows = [
            {"id": f"u{n:06d}", "name": f"user-{n}", "seen": now - timedelta(minutes=n)}
            for n in range(3_000)
        ]
        session.bulk_insert_mappings(
            User,  # type: ignore[arg-type]
            [
                {
                    "id": r["id"], "username": r["name"], "name": f"Name {r['name']}",
                    "status": "active", "email_verified": False, "must_change_password": False,
                    "version": 1, "created_at": now, "updated_at": now, "last_login_at": r["seen"],
                    "phone_number_verified": False, "second_factor": False,
                }
                for r in rows
            ],
        )  # fmt: skip
        session.execute(
            text("INSERT INTO login_name (name, user_id) SELECT username, id FROM user_account "
                 "WHERE username <> 'admin'")
        )  # fmt: skip
        session.execute(text("ANALYZE"))
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cu: Any, statement: str, parameters: Any, _x: Any, _m: Any) -> None:
        if "user_account" in statement and "SELECT" in statement:
            asked.append((statement, parameters))

    engine = world.services.db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        for params in (
            {"search": "user-29"}, {"search": "name user-19"}, {"search": "zz"},
            {"order": "last_login"}, {"order": "-last_login"},
            {"order": "last_login", "last_login_before": now.isoformat()},
            {"never_logged_in": True}, {"status": "disabled"}, {"status": "active"},
            {"last_login_before": now.isoformat()}, {"never_logged_in": False},
            {"order": "last_login", "role": "admin"}, {"order": "-last_login", "status": "active"},
            {"role": "admin", "status": "active"}, {"search": "u", "status": "disabled"},
            {"search": "user", "role": "admin"}, {"search": "n", "never_logged_in": True},
            {"search": "u", "last_login_before": now.isoformat(), "status": "active"},
        ):  # fmt: skip
            await boss.done("GET", "/users", params=params)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert asked
    explain = "EXPLAIN QUERY PLAN " if dialect == "sqlite" else "EXPLAIN "
    with engine.connect() as connection:
        for statement, parameters in asked:
            plan = connection.exec_driver_sql(explain + statement, parameters).all()
            lines = [str(row[-1]) for row in plan]
            bad = [line for line in lines if reads_all(line)]
            assert not bad, (statement, lines)


def reads_all(line: str) -> bool:
    line = line.strip()
    if "Seq Scan on user_account" in line or "Seq Scan on login_name" in line:
        return True
    scans = line.startswith(("SCAN user_account", "SCAN login_name"))
    return scans and "INDEX" not in line
