"""Secrets in all the right and wrong places of requests, at the most talkative log level: none is
in the log, the metrics, an error, the database or the list of processes."""

import base64
import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.faults.racing import code_of, signed_in
from tests.faults.replicas import CLIENT, PASSWORD, Answer, Line, Replicas
from tests.faults.stages import started
from tests.trials.row import Dice, Outcome, Place

REQUESTS = 60
WRONG = (
    "/token", "/introspect", "/revoke", "/users", "/users/me", "/par", "/authorize", "/logout",
    "/device_authorization", "/userinfo", "/forward-auth", "/sign-in", "/nowhere",
)  # fmt: skip
MEMBERS = (
    "username", "scope", "grant_type", "client_id", "state", "token_type_hint", "redirect_uri",
    "resource", "code", "login_hint", "response_type", "q",
)  # fmt: skip


@dataclass
class Talkative:
    replicas: Replicas
    line: Line
    url: str

    @property
    def log(self) -> str:
        return self.replicas.servers[0].log.read_text(errors="replace")

    def processes(self) -> str:
        """What `ps` shows of the service."""
        return Path(f"/proc/{self.replicas.servers[0].pid}/cmdline").read_text()

    def stored(self) -> bytes:
        """All that the database holds, as octets."""
        if self.url.startswith("sqlite:"):
            path = Path(self.url.removeprefix("sqlite:///"))
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(FULL)")
            files = [path, path.with_name(path.name + "-wal")]
            return b"".join(file.read_bytes() for file in files if file.exists())
        with psycopg.connect(self.url) as connection:
            names = connection.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
            ).fetchall()
            rows = [
                row[0]
                for (name,) in names
                for row in connection.execute(f'SELECT t::text FROM "{name}" t').fetchall()
            ]
        return "\n".join(rows).encode()


@contextmanager
def talkative(database: str, place: Place) -> Iterator[Talkative]:
    with (
        started(database, place, 1, LOG_LEVEL="debug", LOGIN_MAX_FAILURES="10000") as replicas,
        replicas.lines() as (line,),
    ):
        yield Talkative(replicas, line, replicas.url)


def says_nothing(stage: Talkative, dice: Dice) -> Outcome:
    seen, ours, line = Outcome(), stage.replicas, stage.line
    user = ours.user()
    login = line.log_in(user.username)
    form = code_of(ours, user, signed_in(ours, user))
    held = {
        "password": PASSWORD,
        "wrong password": f"Wr0ng {secrets.token_hex(12)}",
        "client secret": ours.secret,
        "access token": login["access_token"],
        "refresh token": login["refresh_token"],
        "code": form["code"],
        "verifier": form["code_verifier"],
    }
    for _ in range(REQUESTS):
        kind = dice.choice(sorted(held))
        answer, echoed = _sent(line, dice, user.username, kind, held[kind])
        if answer.status != 200 and not echoed:
            body = answer.body.decode(errors="replace")
            seen.see(not _in(held[kind], body), f"an error says the {kind}")
    line.refresh(login["refresh_token"])
    line.post("/token", **form)
    numbers = line.get("/metrics").body.decode()
    stored = stage.stored().decode("latin-1")
    for kind, secret in held.items():
        seen.see(not _in(secret, stage.log), f"the log says the {kind}")
        seen.see(not _in(secret, numbers), f"the metrics say the {kind}")
        seen.see(not _in(secret, stage.processes()), f"the list of processes says the {kind}")
        seen.see(not _in(secret, stored), f"the database holds the {kind}")
    return seen


def _in(secret: str, text: str) -> bool:
    """As it is, or as an address or Basic spells it."""
    spelled = {secret, quote(secret), base64.b64encode(f"{CLIENT}:{secret}".encode()).decode()}
    return any(each in text for each in spelled)


def _sent(line: Line, dice: Dice, username: str, kind: str, secret: str) -> tuple[Answer, bool]:
    """The answer, and whether it may repeat to its sender what was sent: a scope or a name that
    nobody knows. A wrong password only where somebody might type it, since nothing tells a password
    from other words; and a verifier, which has the form of a name, not for one."""
    path, member = dice.choice(WRONG), dice.choice(MEMBERS)
    match dice.randrange(2 if kind == "verifier" else 0, 3 if kind == "wrong password" else 7):
        case 0:
            form = {"grant_type": "password", "username": username, "password": secret}
            return line.post("/token", **form, scope=dice.choice(("", "nosuch"))), False
        case 1:
            form = {"grant_type": "password", "username": secret, "password": "marmalade 33"}
            return line.post("/token", **form), False
        case 2:
            scheme = dice.choice(("Bearer", "Basic", "DPoP", "Digest", ""))
            return line.get(path, authorization=f"{scheme} {secret}".strip()), False
        case 3:
            return line.post(path, **{member: secret}), True
        case 4:
            return line.get(f"{path}?{member}={quote(secret)}"), True
        case 5:
            body = dice.choice(({"password": [secret]}, [secret], secret, {member: secret}))
            return line.send("POST", path, json.dumps(body).encode(), "application/json"), True
        case _:
            return line.get(path, cookie=f"__Host-session={secret}; session={secret}"), False
