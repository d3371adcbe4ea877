"""`python -m identity.cli.healthcheck`: exit code 0 where the service of this container is alive.

It asks where the service listens: what the container's command says, else the settings. For that
it needs neither typer nor pydantic, since it is run every few seconds.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

SERVICE = Path("/proc/1/cmdline")
"""The service is the container's first process, or its arguments follow that one's (an init)."""


def main() -> int:
    host, port = place(_command(), _settings())
    connection = HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return int(connection.getresponse().status != 200)
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"identity: {host}:{port}: {error}\n")
        return 1
    finally:
        connection.close()


def place(command: Sequence[str], settings: Mapping[str, str]) -> tuple[str, int]:
    """Host and port at which the service, started by `command`, can be asked."""
    host = _option(command, "--host") or settings.get("IDENTITY_HOST") or "127.0.0.1"
    port = _option(command, "--port") or settings.get("IDENTITY_PORT") or "8000"
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}
    return everywhere.get(host, host), int(port)


def _option(command: Sequence[str], name: str) -> str | None:
    """The last one counts."""
    given = None
    for number, word in enumerate(command, 1):
        if word == name:
            given = "".join(command[number : number + 1])
        elif word.startswith(f"{name}="):
            given = word.partition("=")[2]
    return given


def _command() -> list[str]:
    try:
        return SERVICE.read_text().split("\0")
    except OSError:
        return []


def _settings() -> dict[str, str]:
    from dotenv import dotenv_values

    found = {name.upper(): value or "" for name, value in dotenv_values(".env").items()}
    return found | {name.upper(): value for name, value in os.environ.items()}


if __name__ == "__main__":
    sys.exit(main())
