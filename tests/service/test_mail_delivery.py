"""What is written into the outbox is sent, once, by whichever process takes it, in spite of what
servers do; and what a mail says is what we say."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from identity import clock
from identity.authentication.mail import limits, outbox
from identity.authentication.mail.kinds import KINDS, LANGUAGES
from identity.authentication.mail.outbox import OutgoingMail, Taken
from identity.authentication.mail.preparing import Ready
from identity.authentication.mail.sending import sender_of
from identity.authentication.mail.wording import FOLDER, Wording, words
from identity.records import audit
from identity.service.mail_delivery import MailDelivery
from identity.settings import Settings, SettingsError
from identity.store import leased
from tests.acting import Actor, admin, clerk, problem
from tests.elsewhere import Authority
from tests.mailbox import Postbox, taking
from tests.world import World

FROM = "Example <no-reply@example.com>"


@pytest.fixture
def box() -> Iterator[Postbox]:
    with taking() as taken:
        yield taken


@pytest.fixture
def settings(make_settings: Callable[..., Any], box: Postbox) -> Any:
    return make_settings(smtp_url=box.url, mail_from=FROM)


def write(world: World, kind: str = "test", to: str = "ada@example.com", **given: Any) -> str:
    with world.change() as session:
        found = world.services.mails.write(session, kind, to=to, **given)
    assert found is not None
    return found


def rows(world: World) -> list[OutgoingMail]:
    with world.change() as session:
        return list(session.exec(select(OutgoingMail).order_by(OutgoingMail.id)))


def let_pass(world: World, **by: timedelta) -> None:
    with world.change() as session:
        for row in session.exec(select(OutgoingMail)):
            for name, span in by.items():
                setattr(row, name, getattr(row, name) - span)
            session.add(row)


async def one_round(world: World) -> None:
    """Whoever of this process and its housekeeping is quicker takes what is due."""
    delivery = MailDelivery(world.services)
    await delivery.deliver()
    await delivery.stop(20)


async def until(world: World, holds: Callable[[list[OutgoingMail]], bool]) -> list[OutgoingMail]:
    for _ in range(600):
        if holds(found := rows(world)):
            return found
        await one_round(world)
        await asyncio.sleep(0.02)
    raise AssertionError(rows(world))


async def test_a_mail_is_sent_and_forgotten(world: World, box: Postbox) -> None:
    id_ = write(world, to="Ada.L@example.com")
    (row,) = rows(world)
    assert row.sealed and "example.com" not in f"{row.sealed}{row.target}"
    (row,) = await until(world, lambda found: found[0].sent_at is not None)
    assert row.sealed is None and row.attempts == 1
    (mail,) = box.took
    assert mail.to == "Ada.L@example.com" and mail.message["from"] == FROM
    assert mail.message["message-id"].startswith(f"<{id_}@")
    assert mail.message["auto-submitted"] == "auto-generated" and mail.message["date"]
    assert mail.message.get_content_type() == "multipart/alternative"


async def test_what_is_rolled_back_is_not_sent(world: World, box: Postbox) -> None:
    def unit(session: Session) -> None:
        world.services.mails.write(session, "test", to="ada@example.com")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await world.services.db.write(unit)
    await one_round(world)
    assert rows(world) == [] and box.took == []


async def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    world: World, box: Postbox
) -> None:
    box.answer = lambda to: {"b": "450 busy", "c": "550 no such box"}.get(to[0])
    for to in ("a@example.com", "b@example.com", "c@example.com"):
        write(world, to=to)
    a, b, c = await until(world, lambda found: all(e.sent_at or e.last_error for e in found))
    assert [mail.to for mail in box.took] == ["a@example.com"] and a.sent_at
    assert b.given_up_at is None and "busy" in (b.last_error or "") and b.sealed
    assert c.given_up_at and "550" in (c.last_error or "")
    assert "@" not in f"{b.last_error}{c.last_error}"
    (event,) = await world.events("mail.given_up")
    assert event.detail["kind"] == "test" and event.detail["attempts"] == 1
    box.answer = lambda _: None
    let_pass(world, due_at=timedelta(minutes=1))
    await until(world, lambda found: found[1].sent_at is not None)
    with world.change() as session:
        assert outbox.try_again(session) == 1
    await until(world, lambda found: found[2].sent_at is not None)


async def test_what_a_server_says_again_of_a_mail_is_not_kept(box: Postbox) -> None:
    """Some refuse a mail for where its link leads, and say the link."""
    ready = told("reset")._replace(to="Ada.L@example.com")
    link = ready.values["link"]
    assert link
    address = f"https://id.example/reset-password?token={link}"
    box.answer = lambda _: f"550 <ADA.L@example.com> blocked: {address} ({link})"
    (refused,) = await sender_of(Settings.of(smtp_url=box.url, mail_from=FROM)).send([ready])
    assert refused is not None and "blocked" in refused.why
    assert link not in refused.why and "@" not in refused.why


async def test_a_day_without_a_server_ends_it(world: World, box: Postbox) -> None:
    box.answer = lambda _: "451 not today"
    write(world)
    await until(world, lambda found: found[0].last_error is not None)
    let_pass(world, noted_at=leased.GIVEN_UP_AFTER, due_at=timedelta(hours=1))
    (row,) = await until(world, lambda found: found[0].given_up_at is not None)
    assert row.sealed is not None, "it can be tried again"
    with world.change() as session:
        row = session.get_one(OutgoingMail, row.id)
        row.given_up_at = clock.utcnow() - leased.KEPT - timedelta(minutes=1)
        session.add(row)
    assert await world.services.db.write(outbox.prune) == 1


async def test_a_process_that_dies_before_it_says_so_sends_the_same_mail_again(
    world: World, box: Postbox
) -> None:
    user = world.user(email="ada@example.com", email_verified=False)
    write(world, "verify", user_id=user.id)
    await until(world, lambda found: found[0].sent_at is not None)
    with world.change() as session:  # as though it had been killed after the server's answer
        (row,) = session.exec(select(OutgoingMail))
        row.sealed = world.services.mails._master.encrypt(
            f'["{row.id}", "ada@example.com", null, {{}}]'.encode()
        )
        row.sent_at, row.due_at = None, clock.utcnow() - timedelta(seconds=1)
        session.add(row)
    await until(world, lambda found: found[0].sent_at is not None)
    first, second = box.took
    assert first.message["message-id"] == second.message["message-id"]
    assert first.link == second.link


async def test_two_processes_take_each_mail_once(world: World) -> None:
    ids = [write(world, to=f"u{n}@example.com") for n in range(30)]
    taken: list[str] = []
    for _ in range(6):
        one = await world.services.db.write(lambda session: outbox.take(session, 10))
        taken += [each.id for each in one]
    assert len(taken) == len(set(taken)) and set(taken) <= set(ids)


async def test_who_lost_the_lease_settles_nothing(world: World, box: Postbox) -> None:
    box.answer = lambda _: "451 later"
    write(world)
    await until(world, lambda found: found[0].last_error is not None)
    stale, fresh = await taken_anew(world), await taken_anew(world)
    assert fresh.attempts > stale.attempts
    await world.services.db.write(lambda session: outbox.settle_sent(session, stale))
    assert rows(world)[0].sent_at is None


async def taken_anew(world: World) -> Taken:
    """The one mail, as if its lease were over; once more where housekeeping was quicker."""
    for _ in range(600):
        let_pass(world, due_at=timedelta(hours=1))
        taken = await world.services.db.write(lambda session: outbox.take(session, 10))
        if taken:
            return taken[0]
    raise AssertionError(rows(world))


async def test_so_many_may_be_sent_to_one_and_from_one(world: World) -> None:
    def ask(kind: str, target: str, address: str) -> bool:
        before = audit.origin.set(audit.Origin(address=address))
        try:
            with world.change() as session:
                return limits.within(session, kind, target)
        finally:
            audit.origin.reset(before)

    with clock.frozen() as now:
        assert [ask("reset", "a", f"192.0.2.{n}") for n in range(5)] == [True] * 3 + [False] * 2
        assert ask("verify", "a", "192.0.2.1"), "each kind for itself"
        now.tick(timedelta(minutes=15, seconds=1))
        assert ask("reset", "a", "192.0.2.1")
        found = [ask("reset", f"t{n}", f"2001:db8::{n}") for n in range(12)]
        assert found == [True] * 10 + [False] * 2, "one /64 is one subscriber"


# --- What they say --------------------------------------------------------------------------


def told(kind: str, **values: Any) -> Ready:
    given = {
        "username": "ada", "link": "ml_x" if KINDS[kind].link else None, "at": "now",
        "factor": "totp", "browser": "Firefox, Linux", "address": "192.0.2.1", **values,
    }  # fmt: skip
    return Ready("0191", kind, "ada@example.com", None, given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoken", LANGUAGES)
def test_every_mail_has_words_in_every_language(kind: str, spoken: str) -> None:
    wording = Wording(Settings.of(mail_from=FROM))
    ready = told(kind)._replace(locale=f"{spoken}-XX")
    message = wording.message(ready)
    assert message["content-language"] == spoken
    plain = message.get_body(("plain",))
    html = message.get_body(("html",))
    assert plain is not None and html is not None
    text, marked = plain.get_content(), html.get_content()
    assert (KINDS[kind].link is not None) == ("token=ml_x" in text) == ("token=ml_x" in marked)
    assert "<img" not in marked and "{{" not in text + marked and "→" not in text
    said = words(kind, spoken, wording._told(ready.values))
    assert len(said.subject) < 70 and "\n" not in said.subject
    for each in said.paragraphs:
        assert each.text in text.replace("\n", " ").replace("  ", " ") or each.is_link


def test_the_folders_are_the_kinds() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert folders == set(KINDS)
    assert {f.stem for path in FOLDER.iterdir() if path.is_dir() for f in path.iterdir()} == {
        *LANGUAGES
    }


EVIL = [
    "ada\r\nBcc: eve@example.com",
    "<script>alert(1)</script>",
    '"><img src=https://evil.example/x>',
    "ada\n\n→ Click here",
    "\u202eada\u2066",
]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", KINDS)
def test_no_name_gets_out_of_its_place(kind: str, name: str) -> None:
    message = Wording(Settings.of(mail_from=FROM)).message(told(kind, username=name, browser=name))
    assert message["bcc"] is None
    octets = message.as_bytes()
    head, _, _ = octets.partition(b"\r\n\r\n")
    assert b"eve@" not in head and b"evil" not in head
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None and html is not None
    assert "<script" not in html.get_content() and "<img" not in html.get_content()
    assert html.get_content().count("<a href") <= 2
    assert "\u202e" not in plain.get_content() + html.get_content()
    assert "\n\n→" not in plain.get_content()


@pytest.mark.parametrize(
    "to", ["ada@example.com\r\nBcc: eve@example.com", "a@b.example, c@d.example", "", "ada"]
)
async def test_what_is_no_address_gets_into_no_header(to: str, tmp_path: Path) -> None:
    sender = sender_of(Settings.of(mail_folder=tmp_path / "mail"))
    (failure,) = await sender.send([told("test")._replace(to=to)])
    assert failure is not None and failure.hopeless
    assert not (tmp_path / "mail").exists()


async def test_a_folder_takes_mails_for_its_owner_alone(tmp_path: Path) -> None:
    sender = sender_of(Settings.of(mail_folder=tmp_path / "mail"))
    assert await sender.send([told("reset"), told("reset")]) == [None, None]
    (file,) = (tmp_path / "mail").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


# --- Servers and settings -------------------------------------------------------------------


async def outcome(url: str, **settings: Any) -> Any:
    (found,) = await sender_of(Settings.of(smtp_url=url, mail_from=FROM, **settings)).send(
        [told("test")]
    )
    return found


async def test_nothing_is_sent_to_a_server_whose_certificate_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("identity.setting_types._LOOPBACK", r"(?!)")
    authority = Authority(tmp_path)
    with taking(tls=authority.server("127.0.0.1")) as box:
        refused = await outcome(box.url)
        assert "certificate" in refused.why.lower() and not refused.hopeless and not box.took
        assert await outcome(box.url, fetch_ca=authority.pem) is None
        assert len(box.took) == 1


async def test_a_server_without_starttls_gets_nothing(
    monkeypatch: pytest.MonkeyPatch, box: Postbox
) -> None:
    monkeypatch.setattr("identity.setting_types._LOOPBACK", r"(?!)")
    refused = await outcome(box.url)
    assert "STARTTLS" in refused.why and box.took == []
    assert await outcome(f"{box.url}?starttls=off") is None


async def test_nobody_answers(box: Postbox) -> None:
    refused = await outcome("smtp://127.0.0.1:9")
    assert not refused.hopeless and refused.why


@pytest.mark.parametrize(
    ("given", "words_"),
    [
        ({"smtp_url": "http://mail.example"}, "IDENTITY_SMTP_URL: must be smtp"),
        ({"smtp_url": "smtp://mail.example"}, "IDENTITY_MAIL_FROM: is needed"),
        ({"smtp_url": "smtp://u:hush@mail.example?starttls=off"}, "must not go without TLS"),
        ({"smtp_url": "smtp://u:hush@mail.example:0x"}, "IDENTITY_SMTP_URL: "),
        ({"mail_from": "Eve\r\nBcc: eve@example.com <a@b.example>"}, "IDENTITY_MAIL_FROM"),
    ],
)
def test_settings_that_would_not_do_refuse_the_start(given: dict[str, Any], words_: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.of(**({"mail_from": FROM} if "0x" in str(given) or "hush" in str(given) else {}),
                    **given)  # fmt: skip
    assert words_ in str(refused.value) and "hush" not in str(refused.value)


# --- Administrators -------------------------------------------------------------------------


async def test_administrators_see_what_waits_without_what_it_opens(
    world: World, box: Postbox
) -> None:
    box.answer = lambda _: "451 later"
    user = world.user(email="ada@example.com", known={"locale": "de"})
    id_ = write(world, "verify", user_id=user.id)
    await until(world, lambda found: found[0].last_error is not None)
    boss = await admin(world)
    (shown,) = (await boss.done("GET", "/mail?state=waiting"))["items"]
    assert shown["id"] == id_ and shown["state"] == "waiting" and shown["attempts"] >= 1
    one = await boss.done("GET", f"/mail/{id_}")
    assert one["to"] == "ada@example.com" and "token=..." in one["text"]
    assert "ml_" not in str(one)
    box.answer = lambda _: None
    await boss.done("POST", f"/mail/{id_}/retry")
    await until(world, lambda found: found[0].sent_at is not None)
    one = await boss.done("GET", f"/mail/{id_}")
    assert one["state"] == "sent" and one["to"] is None and one["text"] is None
    problem(await boss("POST", f"/mail/{id_}/retry"), 409)
    problem(await boss("GET", "/mail/nothing"), 404)
    (event,) = await world.events("mail.retried")
    assert event.detail["mail"] == id_


async def test_a_test_mail_is_asked_for_and_arrives(world: World, box: Postbox) -> None:
    boss = await admin(world)
    made = await boss.done("POST", "/mail/test", {"to": "Boss@EXAMPLE.com"})
    assert made["kind"] == "test"
    await until(world, lambda found: found[0].sent_at is not None)
    assert box.took[0].to == "Boss@example.com"
    problem(await boss("POST", "/mail/test", {"to": "nobody\r\nBcc: x@y.example"}), 422)


async def test_only_who_may_sees_and_sends(world: World) -> None:
    reader = await clerk(world, "mail:read")
    await reader.done("GET", "/mail")
    assert (await reader("POST", "/mail/test", {"to": "a@b.example"})).status_code == 403
    world.user("plain")
    nobody = Actor(world, await world.log_in("plain", scope="*"))
    assert (await nobody("GET", "/mail")).status_code == 403


async def test_pages_of_mails_neither_skip_nor_repeat(world: World, box: Postbox) -> None:
    ids = [write(world, to=f"u{n}@example.com") for n in range(7)]
    boss = await admin(world)
    seen: list[str] = []
    after = ""
    while True:
        page = await boss.done("GET", f"/mail?limit=3{after}")
        seen += [each["id"] for each in page["items"]]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert seen == sorted(ids, reverse=True)
