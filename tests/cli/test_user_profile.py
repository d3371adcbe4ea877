"""What is known of users at the command line, and in files of users."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.world import KNOWN

Identity = Callable[..., Any]

PROFILE = KNOWN | {
    "phone_number_verified": True,
    "attributes": {"department": "Analysis", "cost.centre": "7"},
}
EMPTY = dict.fromkeys(PROFILE) | {"phone_number_verified": False, "attributes": {}}


def shown(identity: Identity, username: str = "ada") -> dict[str, Any]:
    found = json.loads(identity("users", "show", username, "--json").out)
    return {name: found[name] for name in PROFILE}


def test_members_are_set_shown_and_unset_by_the_names_that_the_api_has(identity: Identity) -> None:
    done = identity(
        "users", "create", "ada", "--generate",
        "--set", "given_name=Ada", "--set", "family_name=Lovelace", "--set", "locale=en_gb",
        "--set", "zoneinfo=Europe/London", "--set", "picture=https://example.com/ada.png",
        "--set", "phone_number=+44 20 7946 0000", "--set", "phone_number_verified=true",
        "--set", 'address={"locality": "London"}', "--set", "address.country=UK",
        "--set", "attributes.department=Analysis", "--set", "attributes.cost.centre=7",
    )  # fmt: skip
    assert done.code == 0, done
    assert shown(identity) == PROFILE
    text = identity("users", "show", "ada").out
    assert "locality=London country=UK" in text
    done = identity(
        "users", "update", "ada", "--set", "given_name=Augusta", "--set", "address.country=",
        "--set", 'attributes={"level": 3}', "--unset", "attributes.department",
        "--unset", "phone_number",
    )  # fmt: skip
    assert done.code == 0, done
    assert shown(identity) == PROFILE | {
        "given_name": "Augusta",
        "address": {"locality": "London"},
        "attributes": {"cost.centre": "7", "level": 3},
        "phone_number": None,
        "phone_number_verified": False,
    }
    members = [name for name in PROFILE if name != "phone_number_verified"]
    unset = [part for name in members for part in ("--unset", name)]
    assert identity("users", "update", "ada", *unset).code == 0
    assert shown(identity) == EMPTY


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--set", "nick=x"], 2, "nothing is called nick"),
        (["--set", "name.first=x"], 2, "nothing is called name.first"),
        (["--set", "attributes.=x"], 2, "nothing is called attributes."),
        (["--set", "locale"], 2, "--set takes NAME=VALUE"),
        (["--set", "address=London"], 2, "address is a JSON object"),
        (["--set", "phone_number_verified=yes"], 2, "phone_number_verified is true or false"),
        (["--set", "locale=en", "--unset", "locale"], 2, "name one thing twice"),
        (["--set", "locale=english"], 1, "locale must be a language tag"),
        (["--set", "address.planet=Earth"], 1, "address/planet is no member of an address"),
        (["--set", 'attributes={"a": {}}'], 1, "attributes/a must be text"),
        (["--set", "picture=http://example.com/"], 1, "picture must begin with https"),
    ],
)
def test_what_cannot_be_is_one_line(
    identity: Identity, args: list[str], code: int, words: str
) -> None:
    assert identity("users", "create", "ada", "--generate").code == 0
    done = identity("users", "update", "ada", *args)
    assert (done.code, done.out, words in done.err) == (code, "", True), done.err
    assert len(done.err.splitlines()) == 1
    assert shown(identity) == EMPTY


def test_files_bring_profiles_along(identity: Identity, tmp_path: Path) -> None:
    rows = [{"username": "ada"} | PROFILE, {"username": "bob"}]
    (tmp_path / "users.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert identity("users", "import", "users.jsonl").code == 0
    assert (shown(identity), shown(identity, "bob")) == (PROFILE, EMPTY)
    (tmp_path / "users.csv").write_text(
        "username,given_name,address,attributes,phone_number_verified\n"
        'ada,Augusta,"London, UK","{""department"": ""Board""}",\n'
        "bob,Bob,,,false\n"
        "eve,Eve,x,[1],maybe\n"
        "kay,Kay,x,{,\n"
        "lin,Lin,{},,\n"
    )
    again = identity("users", "import", "users.csv", "--dry-run")
    assert again.code == 1
    done = identity("users", "import", "users.csv", "--update")
    assert "users.csv:4: phone_number_verified must be true or false" in done.err
    assert "users.csv:5: attributes must be a JSON object" in done.err
    assert shown(identity) == PROFILE | {
        "given_name": "Augusta",
        "address": {"formatted": "London, UK"},
        "attributes": {"department": "Board"},
    }
    assert shown(identity, "lin") == EMPTY | {"given_name": "Lin"}
    unchanged = identity("users", "import", "users.csv", "--update")
    assert "unchanged  3" in unchanged.out


def test_a_bad_profile_is_told_by_line(identity: Identity, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"locale": "english"}, {"address": 1}, {"address": {"planet": "Earth"}},
        {"attributes": {"a": {}}}, {"given_name": 1}, {"given_name": "\ud800"}, {"picture": "x"},
    ]  # fmt: skip
    rows = [{"username": f"u{n}"} | row for n, row in enumerate(wrong)]
    (tmp_path / "users.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = identity("users", "import", "users.jsonl")
    assert done.code == 1
    told = [line.split(": ", 1)[1] for line in done.err.splitlines() if ".jsonl:" in line]
    assert [words.split()[0] for words in told] == [
        "locale", "address", "address/planet", "attributes/a", "given_name", "given_name",
        "picture",
    ]  # fmt: skip
    assert json.loads(identity("users", "list", "--json").out) == []
