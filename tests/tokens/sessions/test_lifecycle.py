"""How sessions begin, end and are forgotten, as units of work."""

from datetime import timedelta

from sqlmodel import Session, func, select

from identity.clock import frozen, utcnow
from identity.store.table import Change
from identity.tokens.sessions import lifecycle, listing
from identity.tokens.sessions.table import LoginSession, RefreshToken
from tests.browsing import Browser, Flow, code_client
from tests.world import World, claims_of

DAY = 86_400


def sid_of(tokens: dict[str, str]) -> str:
    sid: str = claims_of(tokens["access_token"])["sid"]
    return sid


def ended(world: World) -> list[str]:
    """The sessions whose end the change feed tells of."""
    with world.change() as session:
        query = select(Change.ref).where(Change.kind == "session.ended")
        return sorted(session.exec(query).all())


async def test_all_of_a_users_sessions_end_but_those_to_keep(world: World) -> None:
    user = world.user()
    world.user("bob")
    first, second, third = [await world.log_in() for _ in range(3)]
    other = await world.log_in("bob")

    def unit(session: Session) -> int:
        kept = [sid_of(second), None]
        return lifecycle.end_all(session, "password changed", user_id=user.id, keep=kept)

    assert await world.services.db.write(unit) == 2
    assert ended(world) == sorted(map(sid_of, (first, third)))
    alive = [await world.active(t["access_token"]) for t in (first, second, third, other)]
    assert alive == [False, True, False, True]
    with world.change() as session:
        assert [s.id for s in lifecycle.live_of(session, user.id)] == [sid_of(second)]
        stored = session.get(LoginSession, sid_of(first))
        assert stored is not None
        assert stored.end_reason == "password changed" and stored.ended_at is not None
    [event] = await world.events("sessions.ended")
    assert (event.subject, event.detail["count"]) == (user.id, 2)
    assert await world.services.db.write(unit) == 0
    assert len(await world.events("sessions.ended")) == 1


async def test_all_of_a_clients_sessions_end(world: World) -> None:
    world.user()
    shop = world.client()
    mine, other = await world.log_in(client=shop), await world.log_in()

    def unit(session: Session) -> int:
        return lifecycle.end_all(session, "client disabled", client_id=shop.id)

    assert await world.services.db.write(unit) == 1
    assert not await world.active(mine["refresh_token"])
    assert await world.active(other["refresh_token"])


async def test_a_users_sessions_for_one_audience_end_and_they_stay_signed_in(
    world: World,
) -> None:
    user, orders = world.user(), "https://orders.example"
    shop = world.client(audiences=[orders])
    there = await world.log_in(client=shop, resource=orders)
    browser = Browser(world.api)
    here = await Flow(world, code_client(world, "web", first_party=True)).tokens(browser)
    with world.change() as session:
        assert lifecycle.end_all(session, "taken", user_id=user.id, audiences=[orders]) == 1
    assert not await world.active(there["access_token"])
    assert await world.active(here["access_token"])
    assert not (await browser.get("/account")).title.startswith("Sign in")


async def test_an_end_is_on_record_with_its_reason(world: World) -> None:
    world.user()
    tokens = await world.log_in()
    with world.change() as session:
        assert lifecycle.end(session, sid_of(tokens), "by an administrator")
        assert not lifecycle.end(session, sid_of(tokens), "again")
    [event] = await world.events("session.ended")
    assert (event.subject, event.detail) == (sid_of(tokens), {"reason": "by an administrator"})


async def test_at_the_moment_that_it_expires_a_session_is_shown_no_more(world: World) -> None:
    user = world.user()
    client = code_client(world, first_party=True, lifetimes={"session": 200})
    with frozen() as clock:
        await Flow(world, client).tokens(Browser(world.api))
        clock.tick(100)
        last = await world.log_in()

        def shown() -> list[int]:
            with world.change() as session:
                browsers = session.exec(listing.browsers_of(user.id)).all()
                below = listing.below(session, [each.id for each in browsers])
                logins = session.exec(listing.logins_of(user.id)).all()
                live = lifecycle.live_of(session, user.id)
                assert live[0].id == sid_of(last)
                return [len(browsers), sum(map(len, below.values())), len(logins), len(live)]

        clock.tick(99)
        assert shown() == [1, 1, 2, 2]
        clock.tick(1)
        assert shown() == [1, 0, 1, 1]
        with world.change() as session:
            (browser,) = session.exec(listing.browsers_of(user.id)).all()
        left = (browser.expires_at - utcnow()).total_seconds()
        assert left < 90 * DAY - 200
        clock.tick(left)
        assert shown() == [0, 0, 1, 1]


async def test_ending_what_no_access_token_can_be_alive_of_tells_nobody(world: World) -> None:
    """Ten thousand idle sessions end without ten thousand rows in the change feed."""
    user = world.user()
    with frozen() as clock:
        idle = await world.log_in()
        clock.tick(1)
        late = await world.log_in()  # a verifier whose clock is behind may take its token still
        clock.tick(timedelta(minutes=16))
        fresh = await world.log_in()
        with world.change() as session:
            assert lifecycle.end_all(session, "disabled", user_id=user.id) == 3
        assert ended(world) == sorted(map(sid_of, (late, fresh)))
        assert not await world.active(idle["refresh_token"])
        assert not await world.active(fresh["access_token"])


async def test_sessions_are_forgotten_a_week_after_they_end_or_expire(world: World) -> None:
    world.user()
    with frozen() as clock:
        ended_now, kept = await world.log_in(), await world.log_in()
        with world.change() as session:
            lifecycle.end(session, sid_of(ended_now), "logout")

        def left() -> tuple[int, int]:
            with world.change() as session:
                lifecycle.prune(session)
                return (
                    session.exec(select(func.count()).select_from(LoginSession)).one(),
                    session.exec(select(func.count()).select_from(RefreshToken)).one(),
                )

        clock.tick(timedelta(days=7))
        assert left() == (2, 2)
        clock.tick(1)
        assert left() == (1, 1)
        assert not await world.active(ended_now["refresh_token"])
        assert await world.active(kept["refresh_token"])
        clock.tick(timedelta(days=90, seconds=-1))  # a week after it expires
        assert left() == (1, 1)
        clock.tick(1)
        assert left() == (0, 0)


async def test_a_session_notes_where_it_came_from(world: World) -> None:
    world.user()
    long_name = "curl/8 " + "x" * 400
    answer = await world.api.post(
        "/token",
        data={"grant_type": "password", "username": "ada", "password": "tangerine harbour 71"},
        headers={"user-agent": long_name},
    )
    with world.change() as session:
        stored = session.get(LoginSession, sid_of(answer.json()))
        assert stored is not None
        assert (stored.address, stored.client_id) == ("127.0.0.1", "first-party")
        assert stored.user_agent == long_name[:200]
        assert stored.amr == ["pwd"]
        assert stored.expires_at - stored.created_at == timedelta(days=90)


async def test_a_session_that_a_code_begins_notes_it_too(world: World) -> None:
    world.user()
    flow = Flow(world, code_client(world, first_party=True))
    code, verifier = await flow.signed_in(Browser(world.api))
    form = {
        "grant_type": "authorization_code", "code": code, "code_verifier": verifier,
        "redirect_uri": flow.redirect_uri,
    }  # fmt: skip
    long_name = "curl/8 " + "x" * 400
    answer = await world.api.post(
        "/token", data=form | flow.client.post, headers={"user-agent": long_name}
    )
    with world.change() as session:
        stored = session.get_one(LoginSession, sid_of(answer.json()))
    assert (stored.address, stored.user_agent) == ("127.0.0.1", long_name[:200])
