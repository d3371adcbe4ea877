"""The image's check follows the service wherever it was told to listen."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from identity.cli.healthcheck import place
from tests.databases import environment, free_port
from tests.serving import Server

SERVE = ["python", "-m", "identity", "serve"]


@pytest.mark.parametrize(
    ("command", "settings", "expected"),
    [
        ([*SERVE, "--host", "0.0.0.0"], {}, ("127.0.0.1", 8000)),
        ([*SERVE, "--port", "9000"], {"IDENTITY_PORT": "9001"}, ("127.0.0.1", 9000)),
        ([*SERVE, "--port=9000", "--host=::"], {}, ("::1", 9000)),
        ([*SERVE, "--port", "1", "--port", "9000"], {}, ("127.0.0.1", 9000)),
        (["/sbin/docker-init", "--", *SERVE, "--port", "9000"], {}, ("127.0.0.1", 9000)),
        ([], {"IDENTITY_PORT": "9001", "IDENTITY_HOST": "10.1.2.3"}, ("10.1.2.3", 9001)),
        ([*SERVE, "--port"], {}, ("127.0.0.1", 8000)),
    ],
)
def test_it_asks_where_the_service_listens(
    command: list[str], settings: dict[str, str], expected: tuple[str, int]
) -> None:
    assert place(command, settings) == expected


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_it_tells_alive_from_dead(server: Callable[..., Server], tmp_path: Path) -> None:
    service, nobody = server(), free_port()

    def check(**settings: str) -> int:
        command = [sys.executable, "-m", "identity.cli.healthcheck"]
        around = environment(**settings)
        return subprocess.run(command, env=around, cwd=tmp_path, capture_output=True).returncode

    assert check(PORT=str(service.port)) == 0
    assert check(PORT=str(nobody)) == 1
    (tmp_path / ".env").write_text(f"IDENTITY_PORT={service.port}\n")
    assert check() == 0
    assert check(PORT=str(nobody)) == 1  # the environment wins
