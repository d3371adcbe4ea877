"""One load: `wrk` on a core of its own, sending prepared requests, and what it saw."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONNECTIONS = 32

READ = """
local file = io.open("@requests@", "rb")
local whole = file:read("*a")
file:close()
local requests, from = {}, 1
while true do
  local at = whole:find("\\0", from, true)
  if not at then break end
  requests[#requests + 1] = whole:sub(from, at - 1)
  from = at + 1
end
"""

SCRIPT = (
    READ
    + """
local next_one, once = 0, @once@
function request()
  next_one = next_one + 1
  if next_one > #requests then
    if once then wrk.thread:stop() end
    next_one = 1
  end
  return requests[next_one]
end
function done(summary, latency, _)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "bad": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""
)

EACH = (
    READ
    + """
local next_one, answered, bad = -1, 0, 0
function request()
  next_one = next_one + 1
  -- The first is only looked at by wrk, not sent; nothing is left to be said by an empty one.
  return requests[next_one == 0 and 1 or next_one] or ""
end
function response(status, _, _)
  answered = answered + 1
  if status >= 400 then bad = bad + 1 end
  if answered == #requests then
    io.write(string.format('\\nRESULT {"bad": %d}\\n', bad))
    os.exit(0)
  end
end
"""
)


class LoadFailed(Exception):
    """The harness is broken, or the service did not answer as it must."""


@dataclass(frozen=True)
class Load:
    """Rate in requests/s, latencies in ms."""

    rate: float
    p50: float
    p99: float
    bad: int
    answered: int = 0


def request(method: str, path: str, headers: dict[str, str] | None = None, body: str = "") -> bytes:
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if method == "POST":
        lines.append("Content-Type: application/x-www-form-urlencoded")
        lines.append(f"Content-Length: {len(body.encode())}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def run(
    port: int,
    requests: Sequence[bytes],
    *,
    seconds: float,
    core: int | None,
    once: bool = False,
    connections: int = CONNECTIONS,
    may_fail: bool = False,
) -> Load:
    """Send `requests` in turn for `seconds`; with `once` each at most once, then stop."""
    script = SCRIPT.replace("@once@", str(once).lower())
    seen = _seen(script, port, requests, max(1, round(seconds)), core, connections)
    if not seen["requests"]:
        raise LoadFailed("nothing was answered")
    if seen["bad"] and not may_fail:
        raise LoadFailed(f"{seen['bad']} of {seen['requests']} answers were not 2xx")
    rate = seen["requests"] / seen["seconds"]
    return Load(rate, seen["p50"], seen["p99"], seen["bad"], seen["requests"])


def each(port: int, requests: Sequence[bytes], *, core: int | None) -> None:
    """Send each of `requests` once, and return when all are answered."""
    if bad := _seen(EACH, port, requests, 600, core, CONNECTIONS)["bad"]:
        raise LoadFailed(f"{bad} of {len(requests)} answers were not 2xx")


def _seen(
    script: str,
    port: int,
    requests: Sequence[bytes],
    seconds: int,
    core: int | None,
    connections: int,
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        prepared, load = Path(folder, "requests"), Path(folder, "load.lua")
        prepared.write_bytes(b"\0".join(requests) + b"\0")
        load.write_text(script.replace("@requests@", str(prepared)))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        command += ["--timeout", "30s", "-s", str(load), f"http://127.0.0.1:{port}/"]
        answer = subprocess.run(pinned(core, command), capture_output=True, text=True, check=False)
    found = [line for line in answer.stdout.splitlines() if line.startswith("RESULT ")]
    if not found:
        raise LoadFailed(answer.stdout + answer.stderr)
    seen: dict[str, Any] = json.loads(found[0].removeprefix("RESULT "))
    return seen


def pinned(core: int | None, command: list[str]) -> list[str]:
    return command if core is None else ["taskset", "-c", str(core), *command]


def missing() -> str | None:
    """What to install before this can work."""
    for program, package in (("wrk", "wrk"), ("taskset", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} is missing: on Debian `apt-get install {package}`"
    return None
