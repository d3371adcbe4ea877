"""What README.md and docs/ say is true: tables as the code has them, links that lead somewhere,
commands and settings that exist, and every block marked `bash` run against the real service."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from identity import errors
from identity.directory.hashes.schemes import SCHEMES
from identity.settings import described
from scripts import docs
from tests.databases import ROOT, environment
from tests.directory.hashes.test_foreign_hashes import FOREIGN
from tests.proofs import WHOLE
from tests.serving import ADMIN_PASSWORD
from tests.sources import nodes, trees

PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in docs.pages()}
DECISIONS = sorted(name for name in PAGES if re.match(r"docs/decisions/\d", name))

every_page = pytest.mark.parametrize("page", PAGES)


@cache
def service() -> docs.Service:
    return docs.service()


def fences(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def spans(page: str) -> list[str]:
    """What stands between single backticks."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def cells(page: str) -> Iterator[list[str]]:
    """The rows of the page's tables, without backticks."""
    for line in PAGES[page].splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


# --- Made from the code ---------------------------------------------------------------------


@every_page
def test_tables_are_as_the_code_has_them(page: str) -> None:
    assert docs.rendered(PAGES[page], service()) == PAGES[page], "run scripts/docs.py"


def test_every_table_is_shown_somewhere() -> None:
    shown = {name for page in PAGES.values() for name in re.findall(r"<!-- table: (\w+)", page)}
    assert shown == set(docs.TABLES)


def test_every_setting_has_a_meaning() -> None:
    assert not [name for name, _, field in described() if not field.description]


@every_page
def test_settings_that_are_named_exist(page: str) -> None:
    known = {name for name, _, _ in described()}
    named = set(re.findall(r"\bIDENTITY_[A-Z_]*[A-Z]\b", PAGES[page]))
    assert named <= known


@every_page
def test_addresses_that_are_named_exist(page: str) -> None:
    known = {
        f"{method.upper()} {path}"
        for path, methods in service().openapi["paths"].items()
        for method in methods
    }
    named = {span for span in spans(page) if re.match(r"[A-Z]+ /", span)}
    assert named <= known


@every_page
def test_commands_that_are_named_exist_and_have_the_options_that_are_named(page: str) -> None:
    for words in commands(page):
        names = (" ".join(words[:length]) for length in (3, 2, 1))
        known = next(filter(None, map(docs.command_tree().get, names)), None)
        assert known is not None, f"identity {' '.join(words)}"
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= known.options | {"--help"}, f"identity {' '.join(words)}"


def commands(page: str) -> Iterator[list[str]]:
    """The words after `identity` wherever the page shows the command."""
    lines = [line for language in ("bash", "sh") for each in fences(page, language)
             for line in each.splitlines()]  # fmt: skip
    for text in (*lines, *spans(page)):
        for found in re.finditer(r"(?:^|[|(] ?)identity ([a-z][^|)]*)", text):
            words = shlex.split(found[1], comments=True)
            if words[0] not in {"identity", "…"}:
                yield [word for word in words if word != "…"]


# --- Written by hand, held to the code ------------------------------------------------------


def test_every_error_is_in_the_catalogue() -> None:
    rows = {tuple(row[:2]) for row in cells("docs/errors.md")}
    for error in error_classes(errors.IdentityError):
        status, code, title = str(error.status), f"`{error.code}`", error.title
        if issubclass(error, errors.OAuthError | errors.BearerError):
            code = "" if code == "`unauthorized`" else code
            assert (status, code) in rows, error
        else:
            assert (status, title) in rows, error


def error_classes(base: type[errors.IdentityError]) -> Iterator[type[errors.IdentityError]]:
    """Those that are raised: the leaves, and what has a status of its own."""
    for error in base.__subclasses__():
        if not error.__module__.startswith(f"{errors.__name__}."):
            continue
        if not error.__subclasses__():
            yield error
        yield from error_classes(error)


def test_every_audit_event_is_in_the_catalogue() -> None:
    listed = {row[0].strip("`") for row in cells("docs/audit.md")} - {"event", "---"}
    assert listed == set(audit_events())


def audit_events() -> Iterator[str]:
    """The names given to `audit.record`, `audit.event`, and `put` and `refused` of the queue."""
    for path in trees():
        for function in nodes(path):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from _events_of(function)


def _events_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    chosen = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        if not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr not in {"record", "event", "put", "refused"}:
            continue  # what it is called on is put into words only where that matters
        called = ast.unparse(call.func)
        place = {"audit.record": 1, "audit.event": 0}.get(called)
        if called.endswith(("queue.put", "queue.refused")) and not called.startswith(
            "self._queue.put_"
        ):
            place = 0
        if place is None or len(call.args) <= place:
            continue
        name: Any = call.args[place]
        name = chosen.get(name.id) if isinstance(name, ast.Name) else name
        for option in (name.body, name.orelse) if isinstance(name, ast.IfExp) else (name,):
            if isinstance(option, ast.Constant) and isinstance(option.value, str):
                yield option.value


def test_every_hash_format_is_in_the_table_with_its_beginning() -> None:
    rows = [row for row in cells("docs/importing-users.md") if len(row) == 3]
    table = {row[0].strip("`"): re.findall(r"`([^`]+)`", row[1]) for row in rows}
    assert table.keys() - {"format", "---"} == SCHEMES.keys()
    for scheme, encoded in FOREIGN:
        if not encoded.upper().startswith("{CRYPT}"):
            beginnings = tuple(each.upper() for each in table[scheme])
            assert encoded.upper().startswith(beginnings), encoded


# --- Links and places -----------------------------------------------------------------------


@every_page
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(page: Path) -> set[str]:
    """The names of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_files_that_are_named_exist(page: str) -> None:
    for span in spans(page):
        if re.fullmatch(r"(identity|tests|scripts|migrations|docs|bench)/[\w./-]+", span):
            assert (ROOT / span).exists(), span


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), ["README.md"]
    while waiting:
        page = waiting.pop()
        seen.add(page)
        for target in re.findall(r"\]\(([^)#\s]+)", PAGES[page]):
            linked = os.path.relpath((ROOT / page).parent / target, ROOT)
            if linked in PAGES and linked not in seen:
                waiting.append(linked)
    assert seen == set(PAGES)


@pytest.mark.parametrize("page", DECISIONS)
def test_a_decision_names_the_tests_that_hold_it(page: str) -> None:
    held = PAGES[page].partition("\n## Held by\n")[2]
    tests = re.findall(r"`(tests/[\w/]+\.py)`", held)
    assert tests
    assert all((ROOT / test).exists() for test in tests)


# --- Run ------------------------------------------------------------------------------------

TOUR = "README.md"
RUN = [page for page in PAGES if fences(page, "bash")]
SHORT = 1
"""Pages of each half that `make test` tries; `make test-proofs` tries all."""
PROLOGUE = """
member() { python3 -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }
ACCESS=$(curl -s $API/token -d grant_type=password -d username=admin \\
    --data-urlencode "password=$PASSWORD" | member access_token)
"""


@pytest.mark.proof
@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("pages", [RUN[::2], RUN[1::2]], ids=["half", "other-half"])
def test_what_is_shown_works_line_by_line(
    pages: list[str], server: Any, database_url: str, tmp_path: Path
) -> None:
    """Each page as one script; those of a half share a service, for its start takes as long."""
    for tool in ("bash", "curl", "openssl"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not here")
    running = server()
    shims = tmp_path / "shims"
    shims.mkdir()
    for name, words in (("identity", "-m identity"), ("python3", "")):
        (shims / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (shims / name).chmod(0o755)
    settings = {
        "DATABASE_URL": database_url,
        "KEYS_DIR": str(tmp_path / "keys"),
        "BCRYPT_ROUNDS": "4",
        "TEST_WEAK_HASHING": "1",
        "PORT": str(running.port),
    }
    path = f"{shims}{os.pathsep}{os.environ['PATH']}"
    around = environment(**settings) | {"PATH": path, "no_proxy": "*"}
    for page in pages if WHOLE else pages[:SHORT]:
        output = run(script(page, running.url), tmp_path, around)
        assert '"error"' not in output, page
        assert '"type": "about:blank"' not in output, page
        if page == TOUR:
            last = output.splitlines()[-1]
            assert last == '{"active":false}'
            assert '{"active":true,' in output
            assert f"`{last}`" in PAGES[page]


def script(page: str, url: str) -> str:
    """The blocks of the page, with the address and password of a service that runs."""
    shown = "\n".join(fences(page, "bash"))
    if page != TOUR:
        return f"API={url}\nPASSWORD='{ADMIN_PASSWORD}'\n{PROLOGUE}\n{shown}"
    shown = re.sub(r"^API=.*", f"API={url}", shown, flags=re.MULTILINE)
    return re.sub(r"^PASSWORD=.*", f"PASSWORD='{ADMIN_PASSWORD}'", shown, flags=re.MULTILINE)


def run(script: str, folder: Path, around: dict[str, str]) -> str:
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail"],
        input=script, capture_output=True, text=True, check=False, cwd=folder, env=around,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n---\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_the_script_that_moves_to_postgresql_moves_everything(
    server: Any, database_url: str, templates: Any, tmp_path: Path
) -> None:
    from identity.directory.access.table import Role
    from identity.directory.users.table import User
    from identity.keys import master
    from identity.records import audit
    from identity.records.audit import AuditEvent
    from identity.service.opening import audit_keys
    from identity.settings import Settings
    from identity.store import Database

    server().stop()
    (script,) = fences("docs/postgresql.md", "python")
    (tmp_path / "move.py").write_text(script)
    target = templates.fresh("postgresql", tmp_path)
    subprocess.run(
        [sys.executable, "move.py", database_url, target],
        check=True, cwd=tmp_path, env=environment(),
    )  # fmt: skip
    settings = Settings.of(database_url=target, keys_dir=tmp_path / "keys")
    db = Database(settings)

    def checked(session: Session) -> list[audit.Fault]:
        assert session.exec(select(User.username)).all() == ["admin"]
        assert session.exec(select(Role.name)).all() == ["admin"]
        audit.record(session, "login")  # its number is not one that came along
        session.flush()
        assert len(set(session.exec(select(AuditEvent.id)).all())) > 3
        return audit.verify(session, audit_keys(master.load(session, settings))).faults

    with db.transaction() as session:
        assert checked(session) == []
    db.close()
    templates.discard(target)
