"""docs/validating-tokens.md, tried as it stands: every command of it, beside the real service.
And docs/verifier.md, held to the code."""

import ast
import os
import re
import shutil
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from identity.verifier import TokenRefused, Verifier
from identity.verifier import errors as verifier_errors
from tests.databases import ROOT, environment, free_port
from tests.examples.plugin import pytest_run
from tests.interop.npm import installed
from tests.proofs import WHOLE
from tests.serving import ADMIN_PASSWORD

PAGE = (ROOT / "docs" / "validating-tokens.md").read_text()
EXAMPLES = ROOT / "examples"
SECTIONS = {part.partition("\n")[0]: part for part in PAGE.split("\n## ")[1:]}
PORTS = (8000, 8001, 8003, 8080, 8081)
PROLOGUE = """
member() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
stop() { for job in $(jobs -p); do kill "$job" 2> kill.log || true; done; wait; }
trap stop EXIT
"""


def fences(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def copied(folder: Path, ports: dict[str, str]) -> None:
    """The examples, on ports of this test's own."""
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("node_modules"))
    config = folder / "examples" / "gateway" / "nginx.conf"
    config.write_text(with_ports(config.read_text(), ports))


def with_ports(text: str, ports: dict[str, str]) -> str:
    return re.sub(r"(?<![\d.])(8000|8001|8003|8080|8081)\b", lambda port: ports[port[1]], text)


def missing(section: str) -> str | None:
    """What this machine lacks to try the section."""
    needed = {"node": ["node", "npm"], "nginx": ["nginx"]}.get(section, [])
    path = os.environ["PATH"] + ":/usr/sbin"
    return next((each for each in needed if shutil.which(each, path=path) is None), None)


BESIDE = ("node", "nginx")
"""Sections whose programs `test_node.py` and `test_gateway.py` run: the short form leaves them."""


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_every_command_of_the_page_does_what_it_says(
    server: Any, database_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    running = server()
    ports = {str(port): str(free_port()) for port in PORTS} | {"8000": str(running.port)}
    folder = tmp_path / "checkout"
    (folder / "var").mkdir(parents=True)
    copied(folder, ports)
    sections = [
        name for name in SECTIONS if missing(name) is None and (WHOLE or name not in BESIDE)
    ]
    if "node" in sections:
        modules = installed(EXAMPLES / "node" / "package.json", request.config) / "node_modules"
        (folder / "examples" / "node" / "node_modules").symlink_to(modules)
    script = "\n".join(each for name in sections for each in fences(SECTIONS[name], "sh"))
    script = script.replace("npm install --no-package-lock && ", "")
    script = script.replace("--retry 9 ", "--retry 90 ")  # a slow machine is no fault of the page
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, words in (("identity", "-m identity"), ("python3", ""), ("uvicorn", "-m uvicorn")):
        (shims / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (shims / name).chmod(0o755)
    settings = {
        "DATABASE_URL": database_url,
        "KEYS_DIR": str(tmp_path / "keys"),
        "BOOTSTRAP_ADMIN_PASSWORD": ADMIN_PASSWORD,
        "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1",
        "PORT": str(running.port),
    }
    path = f"{shims}{os.pathsep}{os.environ['PATH']}{os.pathsep}/usr/sbin"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail"],
        input=PROLOGUE + with_ports(script, ports),
        cwd=folder,
        env=environment(**settings) | {"PATH": path, "no_proxy": "*"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    promised = re.findall(r"# (\d{3})$", script, re.MULTILINE)
    assert re.findall(r"^\d{3}$", done.stdout, re.MULTILINE) == promised, done.stdout + done.stderr
    assert len(promised) >= 4
    assert "ada orders:read orders:write" in done.stderr
    assert '"kind":"token"' in done.stdout  # of what was revoked on the way


def test_the_code_that_the_page_shows_is_that_of_the_examples() -> None:
    code = (EXAMPLES / "orders" / "orders.py").read_text()
    shown = fences(PAGE, "python")
    assert shown
    for each in shown:
        assert each in code


# --- docs/verifier.md -----------------------------------------------------------------------

API = (ROOT / "docs" / "verifier.md").read_text()
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in API.splitlines()
    if line.startswith("| `")
]


def test_the_api_page_has_every_option_of_the_verifier() -> None:
    listed = {name for row in ROWS if len(row) == 3 for name in re.findall(r"`(\w+)`", row[0])}
    assert listed == set(signature(Verifier).parameters)


def test_the_api_page_has_every_error_as_it_is() -> None:
    listed = {tuple(row[:3]) for row in ROWS if len(row) == 4}
    errors = [
        each
        for each in vars(verifier_errors).values()
        if isinstance(each, type) and issubclass(each, TokenRefused) and each is not TokenRefused
    ]
    assert listed == {
        (f"`{each.__name__}`", str(each.status), f"`{each.code}`" if each.code else "")
        for each in errors
    }


def test_what_the_api_page_shows_is_python_and_its_tests_pass(tmp_path: Path) -> None:
    blocks = fences(API, "python")
    for block in blocks:
        compile(block, "docs/verifier.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    (tests,) = (block for block in blocks if "def test_" in block)
    (tmp_path / "test_shown.py").write_text(tests)
    done = pytest_run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
