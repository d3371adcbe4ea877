"""What `identity doctor` looks at. Nothing here writes, and no secret is ever part of a finding."""

import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata

from sqlalchemy.exc import SQLAlchemyError

from identity.cli.doctor.database import examine_database
from identity.cli.errors import explain
from identity.cli.frame import expect_file, operating
from identity.clock import utcnow
from identity.errors import IdentityError
from identity.service.findings import Finding, Findings
from identity.settings import Settings, SettingsError, loopback
from identity.verifier import namesake

EARLIEST = datetime(2025, 1, 1, tzinfo=UTC)
WATCHED = 0.05
"""Seconds for which the clock is watched."""


def examine(*, ask_service: bool) -> Findings:
    """Everything, in the order in which one thing rests on another."""
    yield from _namesake()
    try:
        settings = Settings.load()
    except SettingsError as error:
        yield Finding("problem", "settings", str(error), "change the setting, or take it out")
        return
    served = _as_served(settings)
    yield from _settings(served[0], noted=served[0] is not settings)
    yield from _machine(settings)
    try:
        expect_file(settings)
        with operating(settings) as operation:
            yield from examine_database(operation)
    except (SettingsError, IdentityError, SQLAlchemyError, OSError) as error:
        _, words = explain(error)
        yield Finding(
            "problem", "database", words.removeprefix("identity: "),
            "check IDENTITY_DATABASE_URL, and that the database runs; `identity migrate` makes it",
        )  # fmt: skip
    if ask_service:
        from identity.cli.doctor.probe import ask

        yield from ask(served)


def _namesake(package: "str | os.PathLike[str]" = namesake.PACKAGE) -> Findings:
    """The distribution `identity` of the public index, which is another project's."""
    found = namesake.foreign_files(package)
    if not found:
        try:
            files = metadata.files("identity") or []
        except metadata.PackageNotFoundError:
            return
        found = [file.name for file in files if str(file) == "identity/web.py"]
    if found:
        yield Finding(
            "problem", "packages", f"another project's distribution `identity` ({found[0]}) is "
            "installed in the same folder", namesake.MEND,
        )  # fmt: skip


def _as_served(settings: Settings) -> list[Settings]:
    """Under each address of which the database knows; what is wrong with it is told later."""
    with suppress(SettingsError, IdentityError, SQLAlchemyError, OSError):
        expect_file(settings)
        with operating(settings) as operation:
            return operation.served
    return [settings]


def _settings(settings: Settings, *, noted: bool) -> Findings:
    server = settings.server
    how = ", as the service was last started" if noted else ""
    yield Finding("ok", "settings", f"{server.environment}; issuer {settings.issuer}{how}")
    open_to_all = server.host not in ("127.0.0.1", "::1", "localhost")
    if settings.production and loopback(settings.issuer):
        yield Finding(
            "problem", "settings", "the issuer is a loopback address: no other machine can use it",
            "set IDENTITY_ISSUER to the address under which others reach the service",
        )  # fmt: skip
    if not settings.production and open_to_all:
        yield Finding(
            "note", "settings", f"listens on {server.host} with the rules of development",
            "set IDENTITY_ENVIRONMENT=production, which refuses weak values",
        )  # fmt: skip
    if settings.passwords.bcrypt_rounds < 12:
        yield Finding(
            "note", "settings", f"passwords are hashed with {settings.passwords.bcrypt_rounds} "
            "rounds", "set IDENTITY_BCRYPT_ROUNDS=12",
        )  # fmt: skip


def _machine(settings: Settings) -> Findings:
    cores, workers = os.cpu_count() or 1, settings.server.workers
    threads = settings.passwords.hashing_threads
    if workers > cores:
        yield Finding(
            "note", "workers", f"{workers} processes share {cores} cores",
            f"set IDENTITY_WORKERS={cores} at the most",
        )  # fmt: skip
    elif threads * workers > cores:
        yield Finding(
            "note", "workers", f"{threads * workers} hashing threads share {cores} cores",
            "set IDENTITY_HASHING_THREADS=0, which divides the cores among the processes",
        )  # fmt: skip
    else:
        yield Finding("ok", "workers", f"{workers} of {cores} cores")
    if utcnow() < EARLIEST:
        yield Finding(
            "problem", "clock", f"it cannot be {utcnow():%Y-%m-%d}", "set the clock (NTP)"
        )
    before, monotonic = time.time(), time.monotonic()
    time.sleep(WATCHED)
    drift = (time.time() - before) - (time.monotonic() - monotonic)
    if abs(drift) > 0.01:
        yield Finding(
            "problem", "clock", f"it jumped by {drift:+.2f} s while it was watched",
            "let one NTP service alone set the clock",
        )  # fmt: skip
