"""compose.ha.yaml and what it brings: settings that exist, a proxy that HAProxy takes, and a
standby that its scripts make of a real PostgreSQL."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from identity.settings import Settings, described
from tests.databases import ROOT, Postgres, free_port, wait_until

COMPOSE = yaml.safe_load((ROOT / "compose.ha.yaml").read_text())
SERVICES = COMPOSE["services"]
FOLDER = ROOT / "deploy" / "compose"
HAPROXY = (FOLDER / "haproxy.cfg").read_text()
DOCUMENTED = (ROOT / "docs" / "haproxy.md").read_text()


def filled(text: str) -> str:
    """With what `.env` has to say, or the default."""
    return re.sub(
        r"\$\{(\w+):[-?]((?:[^{}]|\{[^}]*\})*)\}",
        lambda found: "8000" if found[1] == "IDENTITY_PORT" else
        "given" if "set " in found[2] else filled(found[2]),
        text,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["identity-1", "identity-2", "migrate"])
def test_its_settings_exist_and_are_taken(name: str) -> None:
    given = SERVICES[name]["environment"]
    assert given.keys() <= {name for name, _, _ in described()}
    fields = {name.removeprefix("IDENTITY_").lower(): filled(v) for name, v in given.items()}
    settings = Settings.of(**fields)
    assert settings.production
    assert settings.issuer == "http://127.0.0.1:8000"
    (trusted,) = settings.server.trusted_proxies
    inside = SERVICES["haproxy"]["networks"]["inside"]["ipv4_address"]
    assert str(trusted) == f"{inside}/32"
    grace = SERVICES["identity-1"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) >= settings.server.drain.total_seconds() + 16


def test_every_secret_comes_from_the_environment() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if "PASSWORD" in key or "DATABASE_URL" in key:
                assert re.search(r"\$\{\w+:\?", value), f"{name}: {key}"
    shown = re.findall(r"^#(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    needed = re.findall(r"\$\{(\w+):\?", (ROOT / "compose.ha.yaml").read_text())
    assert set(needed) <= set(shown)


def test_what_is_named_is_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
    ]
    assert all((ROOT / each).is_file() for each in mounted if each.startswith("./"))
    assert {each for each in mounted if not each.startswith("./")} == set(COMPOSE["volumes"])
    url = SERVICES["identity-1"]["environment"]["IDENTITY_DATABASE_URL"]
    databases = {each.split(":")[0] for each in url.rpartition("@")[2].split("/")[0].split(",")}
    assert databases == {"postgres-1", "postgres-2"} < set(SERVICES)
    behind = set(re.findall(r"^    server \w+ ([\w-]+):8000$", HAPROXY, re.MULTILINE))
    assert behind == {"identity-1", "identity-2"} < set(SERVICES)


def directives(text: str) -> list[str]:
    """What HAProxy is told, without comments, servers and addresses."""
    lines = (line.strip() for line in text.splitlines())
    return [
        line
        for line in lines
        if line and not line.startswith(("#", "server ", "bind ", "default-server"))
    ]


def test_its_proxy_is_the_documented_one_without_tls() -> None:
    (documented, *_) = re.findall(r"^```haproxy\n(.*?)^```", DOCUMENTED, re.MULTILINE | re.DOTALL)
    ours = directives(HAPROXY)
    for own in ("resolvers names", "nameserver docker 127.0.0.11:53", "hold valid 1s"):
        ours.remove(own)
    theirs = directives(documented)
    theirs.remove("http-request set-header X-Forwarded-Proto https")
    assert ours == theirs


def test_haproxy_takes_it(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed")
    written = tmp_path / "haproxy.cfg"
    written.write_text(re.sub(r"identity-\d:8000", "127.0.0.1:8000", HAPROXY))
    done = subprocess.run([haproxy, "-c", "-dW", "-f", written], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- The standby ----------------------------------------------------------------------------

PASSWORD = 'of the standby: it\'s $PGDATA "quoted"'


@pytest.fixture
def primary() -> Iterator[Postgres]:
    """A server on which `primary.sh` has run as postgres' image runs it: before a restart."""
    server = Postgres()
    try:
        own = conninfo_to_dict(server.url())
        settings = {
            "PATH": f"{server._binaries}:{os.environ['PATH']}",
            **{f"PG{name.upper()}": str(own[name]) for name in ("host", "port", "password")},
            "PGDATA": str(server._data),
            "POSTGRES_USER": "identity",
            "POSTGRES_DB": "postgres",
            "STANDBY_PASSWORD": PASSWORD,
        }
        subprocess.run(["sh", FOLDER / "primary.sh"], env=settings, check=True)
        server.stop()
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def standby_of(server: Postgres) -> Iterator[str]:
    """Its URL, of what `standby.sh` makes beside a copy that was cut short."""
    port = free_port()
    folder = server._folder / "standby"
    data = folder / "18" / "docker"
    halfway = Path(f"{data}.copy")
    halfway.mkdir(parents=True)
    (halfway / "PG_VERSION").write_text("18")
    for each in (folder, folder / "18", halfway, halfway / "PG_VERSION"):
        shutil.chown(each, *server._data.stat()[4:6])
    environment = {
        "PATH": f"{server._binaries}:{os.environ['PATH']}",
        "PGDATA": str(data),
        "PGPASSWORD": PASSWORD,
        "PRIMARY": f"host=127.0.0.1 port={server.port} user=standby",
    }
    script = (FOLDER / "standby.sh").read_text()  # another user may not reach the file
    # As the primary's, and here.
    given = (*server._options, "listen_addresses=127.0.0.1", f"port={port}")
    here = [part for option in given for part in ("-c", option)]
    process = subprocess.Popen(
        ["/bin/sh", "-c", script, "standby.sh", *here],
        env=environment,
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **server._as_user,
    )
    try:
        yield server.url().replace(f":{server.port}/", f":{port}/")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def test_commits_wait_for_the_standby_and_promoted_it_goes_on_alone(primary: Postgres) -> None:
    with standby_of(primary) as standby:
        with psycopg.connect(primary.url(), autocommit=True) as ours:

            def follows() -> bool:
                asked = "SELECT sync_state = 'sync' FROM pg_stat_replication"
                return ours.execute(asked).fetchone() == (True,)

            wait_until(follows, 60, lambda: "no standby follows")
            ours.execute("SET synchronous_commit = on")
            ours.execute("CREATE TABLE kept (n integer)")
            ours.execute("INSERT INTO kept VALUES (1)")
        primary.kill()
        with psycopg.connect(standby, autocommit=True) as theirs:
            theirs.execute("SELECT pg_promote()")
            theirs.execute("SET synchronous_commit = on")
            theirs.execute("INSERT INTO kept VALUES (2)")  # nobody is left to wait for
            assert theirs.execute("SELECT sum(n) FROM kept").fetchone() == (3,)
