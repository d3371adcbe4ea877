"""Log lines: one form whoever writes them, with the request's origin, without secrets."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from identity.opaque import mint
from identity.records import logs
from identity.records.audit import Origin, origin
from identity.records.redacting import REDACTED
from identity.settings import Settings

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJlLWJ5dGVz"


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    structlog.reset_defaults()


class Log(io.StringIO):
    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


def log_at(level: str = "info", form: str = "json") -> Log:
    stream = Log()
    logs.configure(Settings.of(log_level=level, log_format=form).logs, stream)
    return stream


def test_a_line_says_when_in_utc_and_who_asks() -> None:
    log = log_at()
    token = origin.set(Origin(request_id="r-1", address="::1", actor_type="user", actor="u-1"))
    try:
        structlog.get_logger().info("user created", username="ada")
    finally:
        origin.reset(token)
    (line,) = log.lines
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "event": "user created",
        "username": "ada",
        "request_id": "r-1",
        "actor": "u-1",
    }


def test_the_standard_library_logs_in_the_same_form() -> None:
    log = log_at()
    logging.getLogger("alembic.runtime").info("upgrade %s", "0001")
    logging.getLogger("uvicorn.error").info("not worth a line")
    try:
        raise RuntimeError(f"lost {JWT}")
    except RuntimeError:
        logging.getLogger("uvicorn.error").exception("boom")
    first, second = log.lines
    assert first["event"] == "upgrade 0001"
    assert first["logger"] == "alembic.runtime"
    assert second["level"] == "error"
    assert "RuntimeError: lost [redacted]" in second["exception"]


@pytest.mark.parametrize(
    "name",
    ["password", "new_password", "token", "refresh_token", "client_secret", "Authorization", "code",
     "client_assertion", "master_key", "password_hash"],
)  # fmt: skip
def test_a_secret_by_name_is_never_logged(name: str) -> None:
    log = log_at()
    structlog.get_logger().warning("x", **{name: "hunter2", "inner": [{name: "hunter2"}]})
    assert "hunter2" not in log.getvalue()
    assert log.lines[0][name] == REDACTED


@pytest.mark.parametrize(
    "secret",
    [
        JWT,
        JWT.rpartition(".")[0],
        "rt_" + "aB3_-" * 9,
        "cs_" + "9Zz-_" * 9,
        "$2b$12$abcdefghijklmnopqrstuuSE0FVxKD9lVbVeQPZ0kPEwRTB6y",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----",
    ],
)
def test_a_secret_by_its_looks_is_never_logged(secret: str) -> None:
    log = log_at()
    logger = structlog.get_logger()
    logger.error(
        f"could not read {secret}", values={"list": [("x", secret)]}, error=ValueError(secret)
    )
    logging.getLogger("anything").warning("%s", secret)
    assert secret not in log.getvalue()
    assert secret[10:] not in log.getvalue()
    assert log.getvalue().count(REDACTED) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("POST /token?password=hunter2&scope=a", "POST /token?password=[redacted]&scope=a"),
        ("Authorization: Basic aHVudGVyMjpodW50ZXIy", "Authorization: Basic [redacted]"),
        ("Bearer hunter2", "Bearer [redacted]"),
        ("postgresql://ada:hunter2@db/x", "postgresql://[redacted]@db/x"),
        ("http_request_duration_seconds_bucket", "http_request_duration_seconds_bucket"),
        ("status_code=400 token_type=Bearer", "status_code=400 token_type=Bearer"),
        ("0199a8a0-5b7e-7cc1-8f2e-2f1f3a1c2d3e", "0199a8a0-5b7e-7cc1-8f2e-2f1f3a1c2d3e"),
    ],
)
def test_redaction_takes_the_secret_and_leaves_the_rest(text: str, said: str) -> None:
    assert logs.redacted_text(text).replace("password=[redacted]", "[redacted]") == said.replace(
        "password=[redacted]", "[redacted]"
    )


@given(st.text(max_size=20), st.sampled_from(["", " ", "'", '"', "=", "/", "?", ":", ",", "("]))
@example("", "")
def test_a_minted_token_is_redacted_wherever_it_stands(before: str, mark: str) -> None:
    token = mint("rt")
    if not (before + mark)[-1:].isalnum() or (before + mark)[-1:] > "z":
        assert token not in logs.redacted_text(f"{before}{mark}{token}{mark}")


def test_lines_below_the_level_are_not_written() -> None:
    log = log_at("warning")
    structlog.get_logger().info("no")
    logging.getLogger("alembic").info("no")
    logs.access("GET", "/healthz", "/healthz", 200, 0.001, "r", None, None)
    structlog.get_logger().warning("yes")
    assert [line["event"] for line in log.lines] == ["yes"]


def test_on_a_terminal_lines_are_for_people() -> None:
    log = log_at(form="console")
    structlog.get_logger().info("user created", username="ada", password="hunter2")
    logs.access("GET", "/users/{id}", "/users/7", 200, 0.001, "r", "::1", "u")
    assert "user created" in log.getvalue()
    assert "hunter2" not in log.getvalue()
    assert "/users/{id}" in log.getvalue()


def test_what_strangers_send_does_not_drive_the_terminal() -> None:
    log = log_at(form="console")
    logs.access("GET", "unmatched", "/\x1b]0;owned\x07\x9b31m\u202e", 404, 0.001, "r", "::1", None)
    logs.access("GET", "unmatched", "/a\nb", 404, 0.001, "r", "::1", None)
    assert "/\\x1b]0;owned\\x07\\x9b31m\\u202e" in log.getvalue()
    assert log.getvalue().isascii()
    assert not set(log.getvalue()) & {"\x1b", "\x07"}
    assert len(log.getvalue().splitlines()) == 2


def test_auto_is_json_where_nobody_watches() -> None:
    log = log_at(form="auto")
    structlog.get_logger().info("x")
    assert log.lines[0]["event"] == "x"


@pytest.mark.anyio
async def test_request_lines_gather_and_go_out_before_any_later_line() -> None:
    log = log_at()
    logs.access("GET", "/a", "/a", 200, 0.0015, "r-1", "::1", None)
    logs.access("GET", "unmatched", f"/x/{JWT}", 404, 0.001, "r-2", "::1", "u-1")
    assert log.getvalue() == ""
    structlog.get_logger().info("later")
    first, second, third = log.lines
    assert (first["route"], first["status"], first["duration_us"], first["address"]) == (
        "/a",
        200,
        1500,
        "::1",
    )
    assert first["time"].endswith("Z")
    assert "path" not in first
    assert (second["path"], second["actor"]) == ("/x/[redacted]", "u-1")
    assert third["event"] == "later"


@pytest.mark.anyio
async def test_a_lonely_request_line_goes_out_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FLUSH_AFTER", 0)
    log = log_at()
    logs.access("GET", "/a", "/a", 200, 0.001, "r", None, None)
    with anyio.fail_after(2):
        while not log.lines:
            await anyio.lowlevel.checkpoint()


@pytest.mark.anyio
async def test_request_lines_are_written_in_pieces_that_a_pipe_keeps_whole() -> None:
    pieces: list[str] = []

    class Pieces(Log):
        def write(self, text: str) -> int:
            pieces.append(text)
            return super().write(text)

    log = Pieces()
    logs.configure(Settings.of(log_format="json").logs, log)
    for _ in range(100):
        logs.access("GET", "/a", "/a", 200, 0.001, "r" * 36, "127.0.0.1", None)
    assert len(log.lines) == logs.FLUSH_AT  # the rest waits for company
    logs.flush()
    assert len(log.lines) == 100
    assert all(len(piece) <= logs.WHOLE and piece.endswith("\n") for piece in pieces)


def test_a_file_receives_whole_lines_and_a_broken_one_stops_nothing(tmp_path: Any) -> None:
    path = tmp_path / "log"
    with path.open("w") as stream:
        logs.configure(Settings.of(log_format="json").logs, stream)
        structlog.get_logger().info("ä", bad="\ud800")
    structlog.get_logger().info("to a closed file")
    assert json.loads(path.read_text())["event"] == "ä"
    logs.configure(Settings.of(log_format="json").logs, sys.stderr)
