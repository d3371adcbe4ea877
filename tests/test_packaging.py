"""What is shipped: the locks, the wheel, the image's recipe, and what git must never see."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import httpx
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.databases import ROOT, environment
from tests.serving import ADMIN_PASSWORD
from tests.sources import nodes, trees

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKS = [
    "requirements.lock", "requirements-otel.lock", "requirements-dev.lock",
    "requirements-build.lock",
]  # fmt: skip
UNUSED = {"ecdsa", "rsa"}
AT_FIRST_USE = {"pyasn1", "webauthn", "OpenSSL", "cbor2", "PIL"}
"""What passkeys and logos need, and nobody else."""


def locked(name: str) -> dict[str, str]:
    """Package to version, as the lock has them."""
    pins = re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)
    return {canonicalize_name(package): version for package, version in pins}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_have_a_hash_for_everything_and_name_no_index_or_path(lock: str) -> None:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / lock).read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; [^#]+?)?(\s+--hash=sha256:[0-9a-f]{64})+", line)


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", EXTRAS["server"]),
        ("requirements-otel.lock", [*EXTRAS["server"], *EXTRAS["otel"]]),
        ("requirements.lock", PROJECT["project"]["dependencies"]),
        ("requirements-build.lock", PROJECT["dependency-groups"]["build"]),
        ("requirements-build.lock", PROJECT["build-system"]["requires"]),
        ("requirements-dev.lock", PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_locks_satisfy_the_project(lock: str, wanted: list[str | dict[str, str]]) -> None:
    pins = locked(lock)
    for requirement in map(Requirement, (each for each in wanted if isinstance(each, str))):
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_what_the_service_imports_is_what_it_declares() -> None:
    """A package that only comes along with another may leave with it."""
    declared = {
        canonicalize_name(Requirement(each).name)
        for each in PROJECT["project"]["dependencies"] + EXTRAS["server"] + EXTRAS["otel"]
    }
    declared.add("pydantic-core")  # pydantic's other half, pinned by it
    brought = metadata.packages_distributions()
    migrations = {path: ast.parse(path.read_text()) for path in (ROOT / "migrations").rglob("*.py")}
    sources = {path: nodes(path) for path in trees()}
    sources |= {path: tuple(ast.walk(tree)) for path, tree in migrations.items()}
    for path, found in sources.items():
        for node in found:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.partition(".")[0] for name in names} - {"identity"}:
                if top == "pytest" and "testing" in path.parts:
                    continue  # its plugin is loaded by the pytest that a sibling has
                packages = {canonicalize_name(package) for package in brought.get(top, [])}
                assert not packages or packages & declared, f"{path} imports {top}"


@pytest.mark.parametrize("lock", LOCKS)
def test_tests_run_with_the_versions_that_ship(lock: str) -> None:
    assert locked(lock).items() <= locked("requirements-dev.lock").items()


def test_licences_are_permissive_but_for_the_database_driver() -> None:
    permissive = re.compile(
        r"MIT|BSD|Apache|ISC|Unlicense|PSF|Python Software Foundation|MPL", re.I
    )
    copyleft = {"psycopg", "psycopg-binary"}  # LGPL-3.0, installed unmodified
    windows_only = {"colorama", "tzdata"}
    for package in locked("requirements-otel.lock").keys() - UNUSED - {"six"} - windows_only:
        about = metadata.metadata(package)
        words = [about.get("License-Expression"), about.get("License")]
        words += [c for c in about.get_all("Classifier") or [] if c.startswith("License")]
        licence = " ".join(filter(None, words))
        assert permissive.search(licence) or package in copyleft, f"{package}: {licence}"
        assert not re.search(r"\bA?GPL", licence), f"{package}: {licence}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    return next(folder.glob("identity_service-*.whl"))


def test_the_wheel_carries_code_data_and_migrations_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"identity/py.typed", "identity/authentication/passwords/common.bin"} <= names
    assert any(re.fullmatch(r"identity/_migrations/versions/\w+\.py", name) for name in names)
    tops = {name.split("/")[0].split("-")[0] for name in names}
    assert tops == {"identity", "identity_service"}  # the second is what pip knows of it


def test_an_installed_wheel_migrates_a_database(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    settings = environment(DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}")
    settings["PYTHONPATH"] = str(tmp_path / "site")
    source = "import identity, sys; print(identity.__file__)"
    command = [sys.executable, "-m", "identity", "migrate"]
    where = subprocess.check_output([sys.executable, "-c", source], env=settings, cwd=tmp_path)
    assert where.decode().startswith(str(tmp_path / "site"))
    subprocess.run(command, check=True, env=settings, cwd=tmp_path, capture_output=True)


def test_the_verifier_needs_only_what_a_sibling_installs() -> None:
    """`pip install .` brings cryptography and httpx; no web framework, no database."""
    server = {
        canonicalize_name(Requirement(each).name)
        for each in PROJECT["project"]["optional-dependencies"]["server"]
    }
    source = (
        "import sys; from identity.verifier import SyncVerifier; "
        "print(*{m.partition('.')[0] for m in sys.modules})"
    )
    command = [sys.executable, "-c", source]
    loaded = set(subprocess.check_output(command, text=True, env=environment()).split())
    brought = metadata.packages_distributions()
    used = {canonicalize_name(name) for module in loaded for name in brought.get(module, [])}
    assert {"cryptography", "httpx"} <= used
    # cryptography uses the first where it is, the gate the others; both do without.
    assert used & server <= {"bcrypt", "orjson", "pybase64"}


def test_a_siblings_environment_holds_these_packages_and_no_others() -> None:
    """What dependency scanners will say of `pip install .`: nothing that nobody imports, and so
    neither python-jose nor `ecdsa` (CVE-2024-23342), which it brings."""
    found: set[str] = set()
    wanted = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        assert not requirement.extras
        found.add(name)
        for each in map(Requirement, metadata.requires(name) or []):
            if each.marker is None or each.marker.evaluate({"extra": ""}):
                wanted.append(each)
    assert found | {"typing-extensions"} == {  # that one only before Python 3.13
        "anyio", "certifi", "cffi", "cryptography", "h11", "httpcore", "httpx", "idna",
        "pycparser", "typing-extensions",
    }  # fmt: skip


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_the_service_never_asks_for_ecdsa_or_rsa_nor_at_first_for_passkeys_library(
    server, tmp_path, monkeypatch
) -> None:
    """Each attempt to import one fails here and is written down."""
    (tmp_path / "block").mkdir()
    attempts = tmp_path / "attempts"
    (tmp_path / "block" / "sitecustomize.py").write_text(f"""
import sys
class Block:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {sorted(UNUSED | AT_FIRST_USE)!r}:
            open({str(attempts)!r}, "a").write(name + "\\n")
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block)
open({str(attempts)!r}, "a").close()
""")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "block"))
    running = server()
    form = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
    answer = httpx.post(f"{running.url}/token", data=form, trust_env=False)
    assert answer.status_code == 200
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    me = httpx.get(f"{running.url}/users/me", headers=bearer, trust_env=False)
    assert me.json()["username"] == "admin"
    assert attempts.read_text() == ""


def dockerfile(instruction: str) -> list[str]:
    """The arguments of that instruction in the last stage, which becomes the image."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    stage = re.split(r"^(?=FROM )", text, flags=re.MULTILINE)[-1]
    return re.findall(rf"^{instruction} (.*)$", stage, re.MULTILINE)


def test_the_image_is_slim_unprivileged_and_installs_by_hash() -> None:
    assert re.fullmatch(r"python:3\.\d+-slim\S*", dockerfile("FROM")[0])
    assert dockerfile("USER") == ["identity"]
    assert dockerfile("HEALTHCHECK")[0].endswith('["python", "-m", "identity.cli.healthcheck"]')
    installs = [run for run in dockerfile("RUN") if "pip install" in run]
    for install in installs:
        assert "--no-deps --require-hashes" in install or "--no-deps /tmp/wheel" in install
    assert not re.search(r"apt|gcc|build-essential", "".join(dockerfile("RUN")))


def test_make_installs_the_locks_as_they_stand_whatever_is_released_later() -> None:
    installs = [line for line in lines("Makefile") if re.search(r"-r requirements\S*\.lock", line)]
    assert installs
    assert all("$(LOCKED)" in line for line in installs)
    locked = next(line for line in lines("Makefile") if line.startswith("LOCKED :="))
    assert "--no-deps --require-hashes" in locked


def test_the_image_leaves_out_what_the_service_never_imports() -> None:
    removed = re.search(r"pip uninstall --yes ([a-z0-9 ]+)", " ".join(dockerfile("RUN")))
    assert removed
    assert set(removed[1].split()) >= UNUSED


def test_the_build_context_has_everything_the_image_copies_and_no_secret() -> None:
    allowed = {line[1:] for line in lines(".dockerignore") if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert {name for names in copied for name in names.split()} == allowed
    assert lines(".dockerignore")[0] == "*"


def test_compose_names_real_settings_and_holds_no_secret() -> None:
    from identity.settings import described

    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert services["postgres"]["image"] == "postgres:18"
    assert services["migrate"]["command"] == ["migrate"]
    given = services["identity"]["environment"]
    assert given.keys() <= {name for name, _, _ in described()}
    # Every setting of .env, also one that is not named there; without .env none is missing.
    for name in ("identity", "migrate"):
        assert services[name]["env_file"] == [{"path": ".env", "required": False}]
    (port,) = services["identity"]["ports"]
    assert port == "127.0.0.1:${IDENTITY_PORT:-8000}:${IDENTITY_PORT:-8000}"
    for name, value in (given | services["postgres"]["environment"]).items():
        if "PASSWORD" in name or "DATABASE_URL" in name:
            assert re.search(r"\$\{\w+:\?", value), f"{name} must come from the environment"


def test_the_example_of_env_names_real_settings_and_sets_none() -> None:
    from identity.settings import described

    text = (ROOT / ".env.example").read_text()
    shown = set(re.findall(r"^#(IDENTITY_\w+)=", text, re.MULTILINE))
    assert shown
    assert shown <= {name for name, _, _ in described()}
    assert not lines(".env.example")


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        ("keys/master.key", True),
        ("keys/old/master.key", True),
        ("keys/README.md", False),
        ("var/identity.db", True),
        (".env", True),
        (".env.example", False),
        (".venv-3.12/bin/python", True),
        ("identity/keys/signer.py", False),
    ],
)
def test_git_ignores_secrets_and_state_only(path: str, ignored: bool) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    asked = subprocess.run(["git", "check-ignore", "--no-index", "-q", path], cwd=ROOT, check=False)
    assert (asked.returncode == 0) is ignored


def test_make_help_lists_every_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    listed = subprocess.check_output(["make", "help"], text=True, cwd=ROOT)
    assert re.findall(r"^  make (\S+)", listed, re.MULTILINE) == phony[1].split()


def test_a_python_that_is_missing_or_too_old_is_refused_in_one_line() -> None:
    asked = subprocess.run(
        [ROOT / "scripts" / "python", "2.7"], capture_output=True, text=True, check=False
    )
    assert asked.returncode == 1
    assert asked.stderr.count("\n") == 1
    assert "make PYTHON=" in asked.stderr


def lines(name: str) -> list[str]:
    """The lines of that file that are neither empty nor comments."""
    text = (ROOT / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]
