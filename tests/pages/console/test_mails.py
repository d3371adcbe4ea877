"""The mail queue at the console, and people who are invited from there."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert
from sqlmodel import select

from identity.authentication.mail.kinds import KINDS
from identity.authentication.mail.outbox import OutgoingMail
from identity.directory.users import accounts
from identity.opaque import new_id
from identity.pages.console.mails import KINDS as WORDS
from tests import acting
from tests.mailbox import last, sent
from tests.pages.console.sitting import a_lost_mail, act, administrator, at, post, seated, somebody
from tests.pages.console.test_stopping import EVIL, next_page
from tests.world import World


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path) -> Any:
    return make_settings(mail_folder=tmp_path / "mail")


def the_test(world: World) -> OutgoingMail:
    with world.change() as session:
        return session.exec(select(OutgoingMail).where(OutgoingMail.kind == "test")).one()


def test_every_kind_of_mail_has_a_name_for_administrators() -> None:
    assert WORDS.keys() == KINDS.keys()


async def test_a_test_mail_is_sent_and_its_page_says_how_it_fares(world: World) -> None:
    administrator(world, email="root@example.com")
    browser = await seated(world)
    page = await browser.get(at("/mails", do="test"))
    assert 'value="root@example.com"' in page.answer.text
    page = await act(browser, at("/mails", do="test"), "test", to="nonsense")
    assert page.status == 422 and 'id="to-problem"' in page.answer.text
    page = await act(browser, at("/mails", do="test"), "test", to="ada@example.com")
    assert "It is on its way" in page.text
    address = at("/mail", id=the_test(world).id)
    mail = await last(world, to="ada@example.com")
    assert mail.subject
    page = await browser.get(address)
    assert "forgotten" in page.text and "Send it now" not in page.text
    assert "ada@example.com" not in page.text
    page = await browser.get(at("/mails", state="sent"))
    assert "Test" in page.text and address.replace("&", "&amp;") in page.answer.text
    assert "No mail that fits" in (await browser.get(at("/mails", state="given_up"))).text
    assert (await post(browser, address, {"act": "retry"})).status == 409
    (event,) = await world.events("mail.tested")
    assert event.actor_type == "user"


async def test_a_mail_that_was_given_up_is_looked_into_and_sent_again(world: World) -> None:
    administrator(world)
    user = world.user("ada", email="ada@example.com")
    browser = await seated(world)
    lost = give_up(world, user.id)
    page = await browser.get(at("/mails", state="given_up", user="ada"))
    assert "Confirm the e-mail address" in page.text and "no such box" in page.text
    page = await browser.get(at("/mail", id=lost))
    assert "To ada@example.com" in page.text and "given up" in page.text
    assert "token=..." in page.text, "its link is not made yet"
    page = await post(browser, at("/mail", id=lost), {"act": "retry"})
    assert "Tried again now" in page.text
    assert [m.to for m in await sent(world)].count("ada@example.com") >= 1
    (event,) = await world.events("mail.retried")
    assert event.subject == user.id and event.detail["kind"] == "verify"
    assert (await browser.get(at("/mail", id="nothing"))).status == 404
    assert (await post(browser, at("/mail", id="nothing"), {"act": "retry"})).status == 404


def give_up(world: World, user_id: str, **fields: Any) -> str:
    """A mail that can be opened, and that nobody tries any more."""
    lost = a_lost_mail(world, "verify", user_id=user_id, **fields)
    letter = json.dumps([lost, "ada@example.com", None, {}]).encode()
    with world.change() as session:
        row = session.get_one(OutgoingMail, lost)
        row.sealed = world.services.master.encrypt(letter)
        session.add(row)
    return lost


async def test_who_may_only_see_mails_sends_none(world: World) -> None:
    somebody(world, "mail:read")
    lost = a_lost_mail(world)
    browser = await seated(world, "ada")
    assert (await browser.get(at("/users"))).status == 403
    for address in (at("/mails"), at("/mail", id=lost)):
        page = await browser.get(address)
        assert page.status == 200
        assert "do=" not in page.answer.text and "Send it now" not in page.text
    form = {"act": "test", "to": "eve@example.com"}
    assert (await post(browser, at("/mails"), form)).status == 403
    assert (await post(browser, at("/mail", id=lost), {"act": "retry"})).status == 403
    with world.change() as session:
        assert session.get_one(OutgoingMail, lost).given_up_at is not None


async def test_what_a_server_says_and_what_a_mail_says_is_never_markup(world: World) -> None:
    administrator(world)
    user = world.user("ada", name=EVIL)
    browser = await seated(world)
    lost = give_up(world, user.id, last_error=EVIL)
    a_lost_mail(world, EVIL, last_error=EVIL, user_id=EVIL)
    for address in (at("/mails"), at("/mail", id=lost), at("/mails", user=EVIL, state=EVIL)):
        page = await browser.get(address)
        assert page.status == 200 and "<img src=x" not in page.answer.text, address
    page = await act(browser, at("/mails", do="test"), "test", to=EVIL)
    assert page.status == 422 and "<img src=x" not in page.answer.text


async def test_ten_thousand_mails_come_in_pages(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    sample = a_lost_mail(world)
    with world.change() as session:
        row = session.get_one(OutgoingMail, sample).model_dump(exclude={"id"})
        session.execute(insert(OutgoingMail), [{**row, "id": new_id()} for _ in range(10_000)])
    page = await browser.get(at("/mails", state="given_up"))
    assert page.text.count("no such box") == 50
    page = await browser.get(next_page(page))
    assert page.text.count("no such box") == 50 and "state=given_up" in next_page(page)
    page = await browser.get(at(""))
    assert "10001 could not be sent" in page.text
    assert at("/mails", state="given_up") in page.answer.text


async def test_a_form_from_elsewhere_sends_nothing(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    lost = a_lost_mail(world)
    for address, form in (
        (at("/mails"), {"act": "test", "to": "eve@example.com"}),
        (at("/mail", id=lost), {"act": "retry"}),
    ):
        assert (await browser.post(address, form, sec_fetch_site="cross-site")).status == 403
    assert the_test(world).attempts == 3


async def test_somebody_is_invited_and_again(world: World) -> None:
    root = administrator(world)
    browser = await seated(world)
    form = {"act": "create", "username": "grace", "first": "invite"}
    page = await post(browser, at("/users", do="create"), form)
    assert page.status == 422 and 'id="email-problem"' in page.answer.text
    form["email"] = "grace@example.com"
    page = await post(browser, at("/users", do="create"), form)
    assert "The invitation is on its way" in page.text
    first = await last(world, to="grace@example.com")
    assert "/invitation?" in first.link
    with world.change() as session:
        grace = accounts.find_by_login(session, "grace")
        assert grace is not None and grace.password_hash is None
    address = at("/user", id=grace.id)
    assert "Invite" in (await browser.get(address)).text
    page = await post(browser, address, {"act": "invite"})
    assert "The invitation is on its way" in page.text
    mails = [mail for mail in await sent(world) if mail.to == "grace@example.com"]
    assert len(mails) == 2 and mails[0].link != mails[1].link
    (event,) = await world.events("user.invited")
    assert (event.actor, event.subject) == (root.id, grace.id)


async def test_nobody_is_invited_who_has_a_password_or_no_address_or_holds_more(
    world: World,
) -> None:
    somebody(world, "users:read", "users:write", username="eve")
    administrator(world)
    has = world.user("ada", email="ada@example.com")
    with world.change() as session:
        none = accounts.create(session, username="bob").id
        more = accounts.create(
            session, username="cleo", email="cleo@example.com", roles=["admin"]
        ).id  # fmt: skip
    browser = await seated(world, "eve")
    for user_id, status in ((has.id, 409), (none, 409), (more, 403)):
        if status == 409:
            assert "Invite" not in (await browser.get(at("/user", id=user_id))).text
        page = await post(browser, at("/user", id=user_id), {"act": "invite"})
        assert page.status == status, user_id
    assert not {"ada@example.com", "cleo@example.com"} & {mail.to for mail in await sent(world)}


async def test_a_mail_that_is_looked_at_has_the_brand_that_it_will_have(world: World) -> None:
    boss = await acting.admin(world)
    mail_id = give_up(world, world.user("ada").id)
    assert "Lighthouse" not in (await boss.done("GET", f"/mail/{mail_id}"))["text"]
    await boss.done("PATCH", "/branding", {"name": "Lighthouse"})
    assert "-- \nLighthouse\n" in (await boss.done("GET", f"/mail/{mail_id}"))["text"]
