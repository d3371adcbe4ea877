"""What a process holds that only siblings ask. Its memory and its start are counted in what it
imports and builds, for megabytes and seconds are the machine's (docs/performance.md has those)."""

import base64
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.databases import environment, free_port, wait_until

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
ELSEWHERE = {
    "fastapi", "jinja2", "babel", "webauthn", "cbor2", "segno", "PIL", "jsonschema_rs", "yaml",
    "aiosmtplib", "alembic", "typer", "rich", "html.entities", "identity.api.application",
    "identity.pages.rendering", "identity.pages.signing_in", "identity.pages.consent",
    "identity.pages.account", "identity.pages.console.desk",
    "click", "uvicorn.main", "multiprocessing", "cryptography.x509", "starlette.requests",
    "starlette.routing", "starlette.middleware", "argparse", "socketserver", "pydantic_settings",
    "dotenv", "difflib", "ctypes", "statistics",
}  # fmt: skip
"""What pages, administration, mails, passkeys and commands need, and no sibling; and what libraries
import for themselves."""
MODULES = 336
"""Of ours at most: each takes some 25 KB, and half a millisecond of every start."""
PREPARED = 18
"""Tables at most, of 47, that SQLAlchemy has made ready for the ORM: each takes some 45 KB."""


@SQLITE
def test_a_process_that_only_siblings_ask_holds_what_they_need(
    database_url: str, tmp_path: Path
) -> None:
    settings = environment(DATABASE_URL=database_url, BCRYPT_ROUNDS="4", TEST_WEAK_HASHING="1")
    made = subprocess.run(
        [sys.executable, "-m", "identity", "clients", "create", "shop", "--json",
         "--grant", "client_credentials", "--scope", "introspect"],
        cwd=tmp_path, env=settings, check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    secret = json.loads(made.stdout)["client_secret"]
    port = free_port()
    script = (
        "import atexit, sys; from identity.cli import main; "
        "atexit.register(lambda: print(*sys.modules)); "
        f"sys.argv[1:] = ['serve', '--port', '{port}']; main()"
    )
    log = tmp_path / "serve.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", script], cwd=tmp_path, env=settings,
            stdout=subprocess.PIPE, stderr=said, text=True,
        )  # fmt: skip
    try:
        wait_until(lambda: '"serving"' in log.read_text(), 60, log.read_text)
        ask_as_siblings_do(f"http://127.0.0.1:{port}", secret)
    finally:
        process.send_signal(signal.SIGTERM)
        loaded = process.communicate(timeout=60)[0].split("\n")[-2].split()
    assert process.returncode == 0
    roots = {".".join(name.split(".")[:depth]) for name in loaded for depth in range(1, 5)}
    assert roots & ELSEWHERE == set()
    assert "identity.oauth.introspection" in loaded
    assert len([name for name in loaded if name.startswith("identity")]) <= MODULES


def ask_as_siblings_do(url: str, secret: str) -> None:
    basic = "Basic " + base64.b64encode(f"shop:{secret}".encode()).decode()
    with httpx.Client(base_url=url, headers={"Authorization": basic}) as shop:
        asked = {"grant_type": "client_credentials", "scope": "introspect"}
        token = shop.post("/token", data=asked).json()["access_token"]
        assert shop.post("/introspect", data={"token": token}).json()["active"] is True
        bearer = {"Authorization": f"Bearer {token}"}
        answers = [
            shop.get("/forward-auth", headers=bearer),
            shop.get("/.well-known/jwks.json"),
            shop.get("/healthz"),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200]


@SQLITE
def test_chores_make_few_tables_ready_for_the_orm(database_url: str, tmp_path: Path) -> None:
    script = (
        "import asyncio\n"
        "from identity.app import create_app\n"
        "from identity.service.housekeeping import Housekeeping\n"
        "from identity.service.tables import TABLES\n"
        "async def chores(app):\n"
        "    does = Housekeeping(app.services)\n"
        "    await app.services.feed.catch_up(); await app.services.ring.refresh()\n"
        "    await does.write_audit(); await does.tell_logouts(); await does.send_mails()\n"
        "    await does.tend_keys(); await does.prune(); await does.delete_left()\n"
        "    await app.services.close()\n"
        "asyncio.run(chores(create_app()))\n"
        "print(*[each.__name__ for each in TABLES if each.__mapper__.configured])"
    )
    settings = environment(DATABASE_URL=database_url, BCRYPT_ROUNDS="4", TEST_WEAK_HASHING="1")
    prepared = said_by(script, cwd=tmp_path, env=settings)[-1].split()
    assert "SigningKey" in prepared
    assert len(prepared) <= PREPARED


def test_two_threads_may_be_the_first_to_ask_for_a_table() -> None:
    script = (
        "from threading import Barrier, Thread\n"
        "from sqlmodel import Session, create_engine, select\n"
        "from identity.service.tables import TABLES, metadata\n"
        "from sqlalchemy.pool import StaticPool\n"
        "here = {'poolclass': StaticPool, 'connect_args': {'check_same_thread': False}}\n"
        "engines = [create_engine('sqlite://', **here) for _ in range(2)]\n"
        "together, done = Barrier(2), []\n"
        "def ask(session):\n"
        "    for table in TABLES:\n"
        "        together.wait(60)\n"
        "        done.append(session.exec(select(table)).all())\n"
        "for engine in engines:\n"
        "    metadata.create_all(engine)\n"
        "asking = [Thread(target=ask, args=[Session(engine)]) for engine in engines]\n"
        "for each in asking: each.start()\n"
        "for each in asking: each.join()\n"
        "assert len(done) == 2 * len(TABLES)\n"
        "print({str(each) for each in done})"
    )
    assert said_by(script) == ["{'[]'}"]


def test_what_is_left_out_of_an_import_is_there_for_who_asks_for_it() -> None:
    script = (
        "import sys\n"
        "import identity.http.server, identity.keys.josekeys\n"
        "out = ('uvicorn.main', 'click', 'cryptography.x509', 'socketserver')\n"
        "print(*[name for name in out if name in sys.modules])\n"
        "import uvicorn, uvicorn.server, cryptography.x509, jose.backends.cryptography_backend\n"
        "assert uvicorn.Server is uvicorn.server.Server\n"
        "from uvicorn import main, run\n"
        "assert callable(run) and main.name == 'main'\n"
        "assert not hasattr(uvicorn, 'nothing')\n"
        "try: jose.backends.cryptography_backend.load_pem_x509_certificate(b'none')\n"
        "except ValueError: print('read by cryptography')\n"
        "uvicorn.Config('nothing:none').configure_logging()\n"
        "import logging\n"
        "print(*[type(each).__name__ for each in logging.getLogger('uvicorn').handlers])"
    )
    assert said_by(script) == ["", "read by cryptography", "StreamHandler"]


def test_a_library_that_takes_more_than_its_stand_in_has_gets_the_real_one() -> None:
    script = (
        "import sys\n"
        "from identity.left_out import in_place_of\n"
        "def real():\n"
        "    import colorsys\n"
        "    return colorsys\n"
        "with in_place_of('colorsys', real, rgb_to_hls=None):\n"
        "    from colorsys import rgb_to_hls, rgb_to_hsv\n"
        "print(rgb_to_hls, rgb_to_hsv(0, 0, 1), sys.modules['colorsys'].rgb_to_hls(0, 0, 1))"
    )
    whole = (0.6666666666666666, 1.0, 1), (0.6666666666666666, 0.5, 1.0)
    assert said_by(script) == [f"None {whole[0]} {whole[1]}"]


def said_by(script: str, **run: Any) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=60,
        **{"env": environment(), **run},
    )  # fmt: skip
    return done.stdout.removesuffix("\n").split("\n")


def test_no_group_of_settings_has_a_validator_before_somebody_asks_for_one() -> None:
    script = (
        "from identity.settings import Settings, TokenSettings\n"
        "assert Settings.load(ISSUER='https://id.example').issuer == 'https://id.example'\n"
        "groups = [each.annotation for each in Settings.model_fields.values()]\n"
        "print(*[each.__name__ for each in groups if each.__pydantic_complete__])\n"
        "print(TokenSettings().token_cache, TokenSettings.__pydantic_complete__)"
    )
    assert said_by(script) == ["", "2500 True"]


def test_a_module_is_read_when_it_is_first_asked() -> None:
    script = (
        "import sys\n"
        "from identity.left_out import when_asked\n"
        "finders = list(sys.meta_path)\n"
        "with when_asked('colorsys'):\n"
        "    import colorsys, wave\n"
        "print(type(colorsys) is type(sys), type(wave) is type(sys), sys.meta_path == finders)\n"
        "print(colorsys.rgb_to_hsv(0, 0, 1), type(colorsys) is type(sys))"
    )
    assert said_by(script) == ["False True True", "(0.6666666666666666, 1.0, 1) True"]


def test_no_table_has_a_validator_before_somebody_asks_for_one() -> None:
    script = (
        "from identity.service.tables import TABLES, metadata\n"
        "assert {each.__tablename__ for each in TABLES} == set(metadata.tables)\n"
        "print(*[each.__name__ for each in TABLES if each.__pydantic_complete__])\n"
        "for each in TABLES: each.model_json_schema()\n"
        "print(*[each.__name__ for each in TABLES if not each.__pydantic_complete__])"
    )
    assert said_by(script) == ["", ""]
