"""`identity clients … --set NAME=VALUE`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from identity.directory.clients.settings import ClientSettings
from identity.records.audit import AuditEvent
from identity.store import Database

Identity = Callable[..., Any]
CALLBACK = "https://app.example.com/callback"


def shown(identity: Identity) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(identity("clients", "show", "app", "--json").out)
    return found


def test_settings_are_set_shown_and_unset_by_the_names_that_the_api_has(
    identity: Identity, db: Database, tmp_path: Path
) -> None:
    claims = {"profile": {"department": "dept"}}
    file = tmp_path / "claims.json"
    file.write_text(json.dumps(claims))
    done = identity(
        "clients", "create", "app",
        "--set", f"redirect_uris={CALLBACK}", "--set", "redirect_uris=http://127.0.0.1/cb",
        "--set", "token_endpoint_auth_method=client_secret_post", "--set", f"claims=@{file}",
        "--set", 'lifetimes={"id_token": 60}', "--set", "default_max_age=60",
        "--set", "first_party=true", "--set", 'contacts=["a@example.com", "b@example.com"]',
    )  # fmt: skip
    assert (done.code, done.out[:3]) == (0, "cs_")
    of_its_own = {
        "redirect_uris": [CALLBACK, "http://127.0.0.1/cb"],
        "token_endpoint_auth_method": "client_secret_post",
        "claims": claims,
        "lifetimes": {"id_token": 60},
        "default_max_age": 60,
        "first_party": True,
        "contacts": ["a@example.com", "b@example.com"],
    }
    defaults = ClientSettings().model_dump(mode="json")
    found = shown(identity)
    assert {name: found[name] for name in defaults} == defaults | of_its_own
    assert found["grant_types"] == found["grants"] == ["client_credentials"]
    text = identity("clients", "show", "app").out
    names = {line.split()[0] for line in text.splitlines()}
    assert names & defaults.keys() == of_its_own.keys()

    done = identity(
        "clients", "update", "app", "--set", f"redirect_uris={CALLBACK}", "--set", "pkce=optional",
        "--unset", "default_max_age", "--unset", "claims",
    )  # fmt: skip
    assert done.code == 0
    found = shown(identity)
    assert (found["redirect_uris"], found["pkce"]) == ([CALLBACK], "optional")
    assert (found["default_max_age"], found["claims"]) == (None, {})
    assert found["first_party"] is True
    with db.transaction() as session:
        (event,) = session.exec(select(AuditEvent).where(AuditEvent.event == "client.updated"))
    assert event.detail["before"]["default_max_age"] == 60
    assert event.detail["after"]["pkce"] == "optional"


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--set", "redirect_uri=x"], 2, "there is no setting redirect_uri; did you mean redirect"),
        (["--set", "redirect_uris"], 2, "--set takes NAME=VALUE"),
        (["--set", "first_party=yes"], 2, "first_party is true or false, not yes"),
        (["--set", "default_max_age=1h"], 2, "default_max_age is a number"),
        (["--set", "jwks={"], 2, "jwks is a JSON object"),
        (["--set", "pkce=optional", "--set", "pkce=required"], 2, "--set gives pkce twice"),
        (["--set", "pkce=optional", "--unset", "pkce"], 2, "set and unset at once"),
        (["--unset", "wish"], 2, "there is no setting wish"),
        (["--set", "jwks=@nowhere"], 1, "nowhere: No such file"),
        (["--set", "redirect_uris=http://app.example.com/"], 1, "redirect_uris/0 must begin with"),
        (["--set", "pkce=never"], 1, "pkce: Input should be 'required' or 'optional'"),
        (["--set", "profile=fapi2"], 1, "fapi2 takes one of"),
        (["--set", "dpop_bound_access_tokens=1"], 1, "Input should be a valid boolean"),
    ],
)
def test_what_cannot_be_is_one_line(
    identity: Identity, args: list[str], code: int, words: str
) -> None:
    assert identity("clients", "create", "app").code == 0
    before = shown(identity)
    done = identity("clients", "update", "app", *args)
    assert (done.code, done.out, words in done.err) == (code, "", True), done.err
    assert len(done.err.splitlines()) == 1
    assert shown(identity) == before
