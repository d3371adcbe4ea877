"""SIGKILL at a random instant while tokens are rotated and revoked, users disabled, codes redeemed,
clients told of logouts and mails sent: what was acknowledged is so, the rest happened whole or not
at all, and what waits goes on."""

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Barrier
from typing import Any, Protocol

import httpx
from sqlmodel import col, select

from identity.authentication.mail.outbox import Outbox, OutgoingMail
from identity.directory.clients.table import Client
from identity.directory.users.table import User
from identity.keys import master
from identity.settings import Settings
from identity.store import changes, leased
from identity.store.table import Change
from identity.tokens.logouts import LogoutNotice
from identity.tokens.sessions.table import LoginSession
from tests.databases import wait_until
from tests.faults.racing import code_of, sessions_of, signed_in
from tests.faults.replicas import BROKEN, CLIENT, ISSUER, Answer, Line, Replicas
from tests.faults.stages import started
from tests.mailbox import Postbox, taking
from tests.receiving import Receiver, receiving
from tests.serving import ADMIN_PASSWORD
from tests.tokens.status.decoding import bits_of, opened, reference
from tests.trials.row import Outcome, Place
from tests.world import claims_of

OF_EACH = 2
"""Acts of each kind that are under way when the kill comes."""
JUST_AFTER = 0.01
"""Seconds, at most, from the last answer that is waited for to the kill."""
PATIENCE = 30.0
FROM = "no-reply@identity.test"


@dataclass
class Doomed:
    """One server, the client that it tells of logouts, and where its mails go."""

    replicas: Replicas
    receiver: Receiver
    box: Postbox

    def outbox(self) -> Outbox:
        with self.replicas.db.transaction() as session:
            key = master.load(session, self.replicas.settings)
        return Outbox(Settings.of(smtp_url="smtp://localhost", mail_from=FROM), key)

    def kill(self) -> float:
        """Kill the server and start another; seconds until that one is ready."""
        began = time.monotonic()
        self.replicas.servers[0].kill()
        self.replicas.servers[0] = self.replicas.start()
        return time.monotonic() - began


@contextmanager
def doomed(database: str, place: Place) -> Iterator[Doomed]:
    with receiving() as receiver, taking() as box:
        told = {"SMTP_URL": box.url, "MAIL_FROM": FROM}
        with started(database, place, 1, **told) as replicas:
            with replicas.db.transaction() as session:
                client = session.get_one(Client, CLIENT)
                client.settings = {
                    **(client.settings or {}), "backchannel_logout_uri": receiver.uri,
                }  # fmt: skip
                session.add(client)
                changes.record(session, "client.changed", CLIENT)
            yield Doomed(replicas, receiver, box)


class Act(Protocol):
    """What is under way when the kill comes. It is prepared when it is made."""

    def do(self, line: Line) -> Answer: ...
    def look(self, line: Line, answer: Answer | None, seen: Outcome) -> None:
        """`answer`: None where none came, or one that says try again."""


class Rotation:
    def __init__(self, ours: Replicas, line: Line, admin: str) -> None:
        self._ours = ours
        self.login = line.log_in(ours.user().username)
        self.sid = str(claims_of(self.login["access_token"])["sid"])

    def do(self, line: Line) -> Answer:
        return line.refresh(self.login["refresh_token"])

    def look(self, line: Line, answer: Answer | None, seen: Outcome) -> None:
        newest = self.login if answer is None else answer.document
        live = self._ours.live_refresh_tokens(self.sid)
        seen.see(live == 1, f"rotation: {live} tokens could be used")
        again = line.refresh(newest["refresh_token"])
        if seen.see(again.status == 200, f"rotation: the client's token: {again.status}"):
            live = self._ours.live_refresh_tokens(self.sid)
            seen.see(live == 1, f"rotation: {live} tokens could be used then")
            seen.see(line.active(again.document["refresh_token"]), "rotation: the newest is dead")
        seen.see(line.active(newest["access_token"]), "rotation: the access token is dead")


class Revocation:
    def __init__(self, ours: Replicas, line: Line, admin: str) -> None:
        self.login = line.log_in(ours.user().username)

    def do(self, line: Line) -> Answer:
        return line.post("/revoke", token=self.login["refresh_token"])

    def look(self, line: Line, answer: Answer | None, seen: Outcome) -> None:
        both = [line.active(self.login[name]) for name in ("access_token", "refresh_token")]
        seen.see(len(set(both)) == 1, "revocation: of half")
        if answer is not None:
            seen.see(both == [False, False], "revocation: it came back")
        line.revoke(self.login["refresh_token"])
        seen.see(not line.active(self.login["access_token"]), "revocation: not by a second one")


class Disabling:
    def __init__(self, ours: Replicas, line: Line, admin: str) -> None:
        self._ours, self._admin = ours, admin
        self.user = ours.user()
        self.login = line.log_in(self.user.username)

    def do(self, line: Line) -> Answer:
        return line.patch(f"/users/{self.user.id}", self._admin, status="disabled")

    def look(self, line: Line, answer: Answer | None, seen: Outcome) -> None:
        with self._ours.db.transaction() as session:
            status = session.get_one(User, self.user.id).status
        noted = [e for e in self._ours.events("user.disabled") if e.subject == self.user.id]
        seen.see(len(noted) == (status == "disabled"), "disabling: the audit says otherwise")
        both = {line.active(self.login[name]) for name in ("access_token", "refresh_token")}
        seen.see(both == {status == "active"}, f"disabling: {status}, and its tokens {both}")
        if answer is not None:
            seen.see(answer.status == 200, f"disabling: {answer.status}")
            seen.see(status == "disabled", "disabling: it was undone")


class Redemption:
    def __init__(self, ours: Replicas, line: Line, admin: str) -> None:
        self._ours = ours
        self.user = ours.user()
        self.form = code_of(ours, self.user, signed_in(ours, self.user))

    def do(self, line: Line) -> Answer:
        return line.post("/token", **self.form)

    def look(self, line: Line, answer: Answer | None, seen: Outcome) -> None:
        if answer is None:
            answer = self.do(line)  # its client tries again, and does not know either
        given = answer.status == 200
        seen.see(given or answer.document["error"] == "invalid_grant", f"code: {answer.status}")
        live = [each.id for each in sessions_of(self._ours, self.user) if each.ended_at is None]
        seen.see(len(live) == given, f"code: {len(live)} sessions, and the client has {given:d}")
        for sid in live:
            tokens = self._ours.live_refresh_tokens(sid)
            seen.see(tokens == 1, f"code: {tokens} tokens could be used")
        if given:
            seen.see(line.active(answer.document["access_token"]), "code: its token is dead")


KINDS: tuple[Callable[[Replicas, Line, str], Act], ...] = (
    Rotation, Revocation, Disabling, Redemption,
)  # fmt: skip


def killed_at_any_moment(stage: Doomed, dice: random.Random) -> Outcome:
    seen, ours = Outcome(), stage.replicas
    with ours.lines() as (line,):
        login = {"username": "admin", "password": ADMIN_PASSWORD, "scope": "*"}
        admin = line.granted(grant_type="password", **login)["access_token"]
        acts = [kind(ours, line, admin) for kind in KINDS for _ in range(OF_EACH)]
    mails = stage.outbox()
    dice.shuffle(acts)
    began = Barrier(len(acts) + 1)

    def do(act: Act, line: Line) -> Answer | None:
        began.wait(10)
        try:
            answer = act.do(line)
        except BROKEN:
            return None
        return None if answer.status == 503 else answer

    with ours.lines(*ours.servers * len(acts)) as lines, ThreadPoolExecutor(len(acts)) as threads:
        for line in lines:
            line.get("/healthz")  # so that connecting takes no time
        doing = [threads.submit(do, act, line) for act, line in zip(acts, lines, strict=True)]
        with ours.db.transaction() as session:
            for number in range(OF_EACH):
                mails.write(session, "test", to=f"u{number}@example.com")
        answered = dice.randrange(len(acts))
        began.wait(10)
        until = time.monotonic() + PATIENCE
        while sum(each.done() for each in doing) < answered and time.monotonic() < until:
            time.sleep(0.0005)
        time.sleep(dice.uniform(0, JUST_AFTER))
        seen.recovered(stage.kill())
        answers = [each.result() for each in doing]
    with ours.lines() as (line,):
        for act, answer in zip(acts, answers, strict=True):
            act.look(line, answer, seen)
        ended = see_that_all_agree(ours, line, acts, seen)
    see_that_deliveries_go_on(stage, seen)
    told = {str(claims_of(token)["sid"]) for token in stage.receiver.told}
    seen.see(ended <= told, f"of {len(ended - told)} logouts the client was never told")
    wait_until(ours.sealed, PATIENCE, lambda: "nobody seals the audit")
    seen.see(ours.faults() == [], "the audit's chain is broken")
    seen.measured["answered before the kill"] = sum(each is not None for each in answers)
    return seen


def see_that_all_agree(ours: Replicas, line: Line, acts: list[Act], seen: Outcome) -> set[str]:
    """Sessions, the feed and the status lists; the ids of the sessions that have ended."""
    tokens = [each.login["access_token"] for each in acts if hasattr(each, "login")]
    sids = {str(claims_of(token)["sid"]): token for token in tokens}
    with ours.db.transaction() as session:
        found = session.exec(select(LoginSession).where(col(LoginSession.id).in_(sids))).all()
        ended = {each.id for each in found if each.ended_at is not None}
        told = select(Change.ref).where(Change.kind == "session.ended")
        fed = set(session.exec(told.where(col(Change.ref).in_(sids))).all())
    seen.see(fed == ended, f"the feed names {len(fed)} sessions, and {len(ended)} ended")

    def listed() -> set[str]:
        shown = published(line, list(sids.values()))
        return {sid for sid, bit in zip(sids, shown, strict=True) if bit}

    try:
        wait_until(lambda: listed() == ended, PATIENCE, lambda: "")
    except TimeoutError:
        seen.see(False, f"the status lists show {len(listed())} of {len(ended)} that ended")
    return ended


def published(line: Line, tokens: list[str]) -> list[bool]:
    """Whether each token's bit is set."""
    places = [reference(token) for token in tokens]
    keys = line.get("/.well-known/jwks.json").document
    lists: dict[str, Any] = {}
    for uri in {uri for uri, _ in places}:
        answer = line.get(uri.removeprefix(ISSUER))
        whole = httpx.Response(answer.status, headers=answer.headers, content=answer.body)
        lists[uri] = bits_of(opened(whole, keys, uri)["status_list"]["lst"])
    return [bool(lists[uri] >> index & 1) for uri, index in places]


def see_that_deliveries_go_on(stage: Doomed, seen: Outcome) -> None:
    """Every client is told and every mail sent, by the new process; the killed one's leases are
    let go first, which would last another half minute."""
    db = stage.replicas.db
    outboxes: tuple[tuple[Any, str, Any], ...] = (
        (LogoutNotice, "logouts", True),
        (OutgoingMail, "mails", col(OutgoingMail.sent_at).is_(None)),
    )
    for table, words, waits in outboxes:
        query = select(table).where(waits)
        with db.transaction() as session:
            for row in session.exec(query).all():
                row.due_at -= leased.LEASE
                session.add(row)

        def left(query: Any = query) -> int:
            with db.transaction() as session:
                return len(session.exec(query).all())

        try:
            wait_until(lambda: left() == 0, PATIENCE, lambda: "")
        except TimeoutError:
            seen.see(False, f"{left()} {words} were never delivered")
