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
        started(database, place, 1, LOG_LEVEL="debug") as replicas,
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
    errors = []
    for _ in range(REQUESTS):
        kind = dice.choice(sorted(held))
        answer = _misplaced(line, dice, user.username, held[kind])
        if answer.status != 200:
            errors.append((kind, answer.body.decode(errors="replace")))
    for kind, body in errors:
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


def _misplaced(line: Line, dice: Dice, username: str, secret: str) -> Answer:
    path, member = dice.choice(WRONG), dice.choice(MEMBERS)
    match dice.randrange(7):
        case 0:  # where it belongs, more or less
            form = {"grant_type": "password", "username": username, "password": secret}
            return line.post("/token", **form, scope=dice.choice(("", "no such scope")))
        case 1:
            return line.post(path, **{member: secret})
        case 2:
            return line.get(f"{path}?{member}={quote(secret)}")
        case 3:
            scheme = dice.choice(("Bearer", "Basic", "DPoP", "Digest", ""))
            return line.get(path, authorization=f"{scheme} {secret}".strip())
        case 4:
            return line.get(f"{path}/{quote(secret, safe='')}")
        case 5:
            body = dice.choice(({member: secret}, {"password": [secret]}, [secret], secret))
            return line.send("POST", path, json.dumps(body).encode(), "application/json")
        case _:
            return line.get(path, cookie=f"__Host-session={secret}; session={secret}")
