"""`identity export` writes what `identity apply` makes again, to the letter."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from sqlmodel import Session

from identity.cli.applying import doing, entries
from identity.cli.applying import files as reading
from identity.cli.applying.command import house
from identity.cli.applying.exporting import dumped, export
from identity.cli.applying.planning import Way, plan
from identity.service.opening import open_database
from identity.settings import Settings
from identity.store import Database
from tests.cli.applying.test_apply import SHOP
from tests.databases import ROOT
from tests.proofs import effort
from tests.signing import Signer
from tests.templates import Templates

Identity = Callable[..., Any]
EXAMPLE = ROOT / "examples" / "configuration"
PUBLISHED = ROOT / "docs" / "configuration.schema.json"


@pytest.fixture
def empty(
    dialect: str, templates: Templates, tmp_path: Path
) -> Iterator[Callable[[], tuple[Database, Settings]]]:
    """Databases in which nothing has been yet."""
    made: list[tuple[str, Database]] = []

    def another() -> tuple[Database, Settings]:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        url = templates.fresh(dialect, folder)
        settings = Settings.of(database_url=url, bcrypt_rounds=4, test_weak_hashing=True)
        db = open_database(settings)
        made.append((url, db))
        return db, settings

    yield another
    for url, db in made:
        db.close()
        templates.discard(url)


def applied(db: Database, settings: Settings, text: str, folder: Path) -> int:
    """How many things were not as the text says."""
    file = folder / "configuration.yaml"
    file.write_text(text)
    files, way = reading.read([file]), Way()
    with db.transaction() as session:
        doing.prepare(session)
        made = plan(session, files, way)
        doing.carry_out(session, files, made, way, house(settings))
    return len(made.visible)


def exported(db: Database, settings: Settings) -> str:
    with db.snapshot() as session:
        return export(session, house(settings).own_audiences).text


def test_what_is_exported_makes_the_same_again_to_the_letter(
    identity: Identity,
    empty: Callable[[], tuple[Database, Settings]],
    tmp_path: Path,
    db: Database,
    settings: Any,
) -> None:
    """Of things made by hand, with names that YAML could take for something else."""
    jwks = tmp_path / "jwks.json"
    jwks.write_text(json.dumps(Signer().jwks))
    for command in (
        ["scopes", "create", "null"],
        ["scopes", "create", "true", "--description", "- [yes]: 'no' \"#\" \t\n é 🔑 \x85 \u2028"],
        ["scopes", "create", "1.0", "--audience", "https://Orders.example.com/?a=b"],
        ["scopes", "create", "&a", "--audience", "urn:x", "--open-to-registered"],
        ["roles", "create", "010", "--scope", "null", "--scope", "&a", "--acr", "aal2"],
        ["roles", "create", "12:30:45", "--description", " "],
        ["roles", "update", "admin", "--acr", "aal2"],
        ["trusted-issuers", "create", "https://a.example", "--jwks", str(jwks)],
        ["trusted-issuers", "create", "https://b.example", "--user-match", "email",
         "--user-claim", "email", "--disable"],
        ["clients", "create", "1e3", "--scope", "1.0", "--scope", "&a", "--audience", "urn:x",
         "--set", 'token_exchange={"urn:x": ["*"]}', "--set", "token_exchange_impersonation=urn:x"],
        ["clients", "create", "0", "--public", "--set", "redirect_uris=http://127.0.0.1/cb",
         "--default-scope", "true", "--name", "~"],
        ["clients", "create", "yes", "--set", "token_endpoint_auth_method=private_key_jwt",
         "--set", f"jwks=@{jwks}", "--set", 'claims={"profile": {"b": "x", "a": "y"}}'],
        ["clients", "create", "secure", "--set", "token_endpoint_auth_method=private_key_jwt",
         "--set", "profile=fapi2", "--set", f"jwks=@{jwks}", "--grant", "authorization_code",
         "--set", "redirect_uris=https://a.example/cb"],
        ["clients", "disable", "0"],
        ["clients", "update", "1e3", "--grant", "client_credentials"],
    ):  # fmt: skip
        if "--disable" in command:
            assert identity(*[word for word in command if word != "--disable"]).code == 0
            command = ["trusted-issuers", "update", "https://b.example", "--disable"]
        assert identity(*command).code == 0, command
    first = identity("export")
    assert first.code == 0
    assert "Clients whose secrets are not in it: 1." in first.err
    text = first.out
    assert yaml.safe_load(text)["clients"].keys() == {"0", "1e3", "secure", "yes"}
    other, its_settings = empty()
    assert applied(other, its_settings, text, tmp_path) == 13
    assert exported(other, its_settings) == text
    assert applied(other, its_settings, text, tmp_path) == 0
    assert applied(db, settings, text, tmp_path) == 0  # where it came from


def test_an_empty_database_is_an_empty_file(
    empty: Callable[[], tuple[Database, Settings]], tmp_path: Path
) -> None:
    db, its_settings = empty()
    text = exported(db, its_settings)
    assert yaml.safe_load(text) == {}
    assert applied(db, its_settings, text, tmp_path) == 0
    assert exported(db, its_settings) == text


def test_an_audience_that_is_no_resource_any_more_is_told_of(identity: Identity) -> None:
    identity("scopes", "create", "a", "--audience", "https://a.example")
    identity("clients", "create", "shop", "--audience", "https://a.example")
    assert "no scope belongs to" not in identity("export").err
    identity("scopes", "delete", "a", "--yes")
    done = identity("export")
    assert "The client shop has an audience that no scope belongs to any more" in done.err


# --- Whatever is configured -----------------------------------------------------------------

_texts = st.text(max_size=20).filter(lambda text: "\0" not in text)
_lines = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=10)
_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,6}", fullmatch=True)
_scopes = st.from_regex(r"[\x21\x23-\x29\x2b-\x5b\x5d-\x7e]{1,6}", fullmatch=True)
_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,6}", fullmatch=True)
_audiences = st.sampled_from(["https://a.example", "urn:b", "https://c.example/?d=e"])


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """A valid one."""
    scope = st.fixed_dictionaries(
        {}, optional={"description": _texts, "open_to_registered": st.booleans()}
    )
    names = draw(st.lists(_scopes, unique=True, max_size=5))
    homes = {name: draw(st.none() | _audiences) for name in names}
    found: dict[str, Any] = {"scopes": {}, "resources": {}}
    for name, home in homes.items():
        entry = draw(st.none() | scope)
        if home is None:
            found["scopes"][name] = entry
        else:
            found["resources"].setdefault(home, {"scopes": {}})["scopes"][name] = entry
    some = st.lists(st.sampled_from(names), unique=True) if names else st.just([])
    resources = list(found["resources"])
    named = st.lists(st.sampled_from(resources), unique=True) if resources else st.just([])
    role = st.fixed_dictionaries(
        {}, optional={"description": _texts, "scopes": some, "acr": st.just("aal2")}
    )
    found["roles"] = draw(st.dictionaries(_names.filter(lambda n: n != "admin"), role, max_size=3))
    client = st.fixed_dictionaries(
        {},
        optional={
            "name": _lines,
            "status": st.sampled_from(["active", "disabled"]),
            "grant_types": st.lists(
                st.sampled_from(["authorization_code", "refresh_token", "client_credentials"]),
                unique=True,
            ),
            "scopes": some,
            "audiences": named,
            "redirect_uris": st.just(["https://a.example/cb", "http://127.0.0.1/cb"]),
            "contacts": st.lists(_lines, max_size=3),
            "default_max_age": st.integers(0, 1000),
            "first_party": st.booleans(),
            "pkce": st.sampled_from(["required", "optional"]),
            "claims": st.dictionaries(
                _names, st.dictionaries(st.just("department"), _lines, max_size=1), max_size=2
            ),
            "lifetimes": st.fixed_dictionaries({}, optional={"id_token": st.integers(10, 900)}),
            "token_exchange": named.map(lambda each: {name: ["*"] for name in each}),
        },
    )
    taken = {"first-party"}
    clients = st.dictionaries(_ids.filter(lambda n: n not in taken), client, max_size=3)
    found["clients"] = draw(clients)
    for entry in found["clients"].values():
        if "scopes" in entry and draw(st.booleans()):
            entry["default_scopes"] = entry["scopes"][:1]
    issuer = st.fixed_dictionaries(
        {}, optional={"name": _lines, "user_claim": _lines, "audience": _lines}
    )
    uris = st.sampled_from(["https://i.example", "https://j.example/a", "https://k.example"])
    found["trusted_issuers"] = draw(st.dictionaries(uris, st.none() | issuer, max_size=2))
    return found


@pytest.fixture
def alone(empty: Callable[[], tuple[Database, Settings]]) -> tuple[Database, Settings]:
    return empty()


VALIDATOR = Draft202012Validator(entries.schema())


@pytest.mark.proof
@settings(
    max_examples=effort(4, 15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(configuration=configurations())
@pytest.mark.parametrize("dialect", ["sqlite"])
def test_whatever_is_configured_makes_the_round_trip(
    alone: tuple[Database, Settings], tmp_path: Path, configuration: dict[str, Any]
) -> None:
    text = as_exported(alone, dumped(configuration), tmp_path)
    assert as_exported(alone, text, tmp_path) == text
    VALIDATOR.validate(yaml.safe_load(text))


def as_exported(alone: tuple[Database, Settings], text: str, folder: Path) -> str:
    """What is exported where nothing was before it was applied; nothing of it stays."""
    db, its_settings = alone
    file = folder / "configuration.yaml"
    file.write_text(text)
    files, way = reading.read([file]), Way()
    with db.engine.connect() as connection, Session(connection) as session:
        doing.prepare(session)
        doing.carry_out(session, files, plan(session, files, way), way, house(its_settings))
        found = export(session, house(its_settings).own_audiences).text
        session.rollback()
    return found


# --- Schema and example ---------------------------------------------------------------------


def test_the_schema_that_is_published_is_the_one_that_files_are_held_to(
    identity: Identity,
) -> None:
    printed = identity("apply", "--schema")
    assert printed.code == 0
    assert printed.out == PUBLISHED.read_text(), "run scripts/docs.py"
    validator = Draft202012Validator(json.loads(printed.out))
    for text, valid in (
        (SHOP, True),
        ("roles: {clerk: }", True),
        ("roles: {clerk: {scope: [a]}}", False),
        ("clients: {shop: {redirect_uri: 'https://a.example'}}", False),
        ("clients: {shop: {pkce: never}}", False),
        ("role: {}", False),
    ):
        assert validator.is_valid(yaml.safe_load(text)) is valid, text


def test_the_example_applies(
    identity: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_SECRET", "0123456789abcdef0123456789abcdef")
    for file in EXAMPLE.iterdir():
        shutil.copy(file, tmp_path)
        loaded = yaml.safe_load(file.read_text())
        Draft202012Validator(json.loads(PUBLISHED.read_text())).validate(loaded)
    names = [file.name for file in sorted(EXAMPLE.iterdir())]
    assert names == ["policies.yaml", "shop.yaml"]
    done = identity("apply", *names, "--yes")
    assert (done.code, done.err) == (0, "Set shop: 10 added, 0 unchanged.\n"), done
    assert identity("apply", *names).err == "Set shop: 10 unchanged.\n"
