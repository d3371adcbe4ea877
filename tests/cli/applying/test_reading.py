"""Files have one reading, and every mistake its line."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from identity.cli.applying import reading
from identity.cli.applying.exporting import dumped
from identity.cli.applying.mistakes import Mistaken

FILE = Path("shop.yaml")
Identity = Callable[..., Any]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("roles: {}\nscopes: {}\nroles: {}", 3, "roles stands twice, first in line 1"),
        ("roles:\n  a: {acr: aal2,\n    acr: aal2}", 3, "acr stands twice, first in line 2"),
        ("roles: &all {}\nscopes: *all", 1, "&all: anchors are not taken"),
        ("scopes: *all", 1, "*all: aliases are not taken"),
        ("roles: !!python/object:os.system {}", 1, "tags are not taken"),
        ("roles:\n  clerk:\n    <<: *base", 3, "*base: aliases are not taken"),
        ("roles: {}\n---\nroles: {}", 2, "holds a second document"),
        ("roles: {}\nscopes: [", 3, "is not YAML"),
        ("roles: {}\n\tscopes: {}", 2, "is not YAML"),
        ("? [a]\n: b", 1, "a key must be a text"),
        ("- a\n- b", 1, "must be a mapping"),
        ("text", 1, "must be a mapping"),
        ("roles: \x07", 1, "is not YAML"),
        ("roles: " + "[" * 21 + "]" * 21, 1, "is nested too deeply"),
        ("roles:\n" + "\n".join(" " * n + "a:" for n in range(1, 5000)), 21, "nested too deeply"),
        ("roles: " + "{a: " * 100_000, 1, "nested too deeply"),
    ],
)
def test_what_has_no_one_reading_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(Mistaken) as refused:
        reading.parse(text, FILE)
    (mistake,) = refused.value.mistakes
    place, number = mistake.place.split(":")
    assert (place, int(number)) == ("shop.yaml", line)
    assert words in mistake.words


def test_a_billion_laughs_are_not_laughed() -> None:
    text = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [{f'*{a},' * 9}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(Mistaken, match="anchors are not taken"):
        reading.parse(text, FILE)


def test_values_are_what_they_look_like() -> None:
    text = """
    texts: [no, on, yes, y, 1.5, 1e3, 0x10, 0o7, 010, 1_000, 12:30, 2026-01-01, '1', "true", <<, =]
    values: [true, False, null, ~, , 7, -3, 0]
    """
    found = reading.parse(text.replace("~, ,", "~,"), FILE)
    assert found["texts"] == ["no", "on", "yes", "y", "1.5", "1e3", "0x10", "0o7", "010", "1_000",
                              "12:30", "2026-01-01", "1", "true", "<<", "="]  # fmt: skip
    assert found["values"] == [True, False, None, None, 7, -3, 0]
    assert reading.parse("", FILE) == {} == reading.parse("# nothing\n", FILE)


def test_files_that_are_no_text_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shop.yaml"
    file.write_bytes(b"roles: {}\n# \xff\n")
    with pytest.raises(Mistaken, match=r"shop.yaml:2: is not UTF-8"):
        reading.read(file)
    file.write_bytes(b"\xef\xbb\xbfroles: {}\n")
    assert reading.read(file) == {"roles": {}}
    monkeypatch.setattr(reading, "LARGEST", 8)
    with pytest.raises(Mistaken, match="is larger than"):
        reading.read(file)


_leaves = st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text()
_trees = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _trees, max_size=4))
def test_what_is_exported_is_read_as_it_was(document: dict[str, Any]) -> None:
    text = dumped(document)
    assert reading.parse(text, FILE) == document
    assert yaml.safe_load(text) == document  # as anybody else reads it, too


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{},&*!|>'\"%@#? \n\t0\\u~"))))
def test_whatever_text_comes_is_read_or_refused(text: str) -> None:
    with suppress(Mistaken):
        reading.parse(text, FILE)


@given(st.binary(max_size=40))
def test_a_line_is_found_for_whatever_is_asked(octets: bytes) -> None:
    root = reading.parse("a:\n  - b: 1\n  - c:\n      d: 2\n", FILE)
    path = tuple(step if step % 2 else chr(97 + step % 5) for step in octets)
    assert 1 <= reading.line_of(root, path) <= 4
    assert reading.line_of(root, ("a", 1, "c", "d", "e", 5)) == 4
    assert reading.line_of(root, ("a", "0")) == 2


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("roles:\n  clerk:\n    scope: [a]", 3, "/roles/clerk/scope: there is no such member"),
        ("role: {}", 1, "/role: there is no such member"),
        ("roles:\n  'two words': {}", 2, "/roles/two words/name: must be 1 to 64"),
        ("scopes:\n  a: {description: 7}", 2, "/scopes/a/description: Input should be a valid str"),
        ("clients:\n  a:\n    pkce: no", 3, "/clients/a/pkce: Input should be 'required' or"),
        ("clients:\n  a:\n    redirect_uris:\n      - https://ok.example\n      - http://x/#a",
         5, "/clients/a/redirect_uris/1: "),
        ("clients:\n  a:\n    type: public\n    pkce: optional", 4, "/clients/a/pkce: must be req"),
        ("clients:\n  a:\n    name: b\n    client_name: c", 2, "/clients/a: client_name is "),
        ("clients:\n  a:\n    grant_types: [wish]", 3, "/clients/a/grant_types: no such grant: "),
        ("clients:\n  a:\n    scopes: [wish]", 3, "/clients/a/scopes: no such scope: wish"),
        ("clients:\n  a:\n    scope: wish", 2, "no such scope: wish"),
        ("clients:\n  a b: {}", 2, "/clients/a b/id: must be 1 to 64 letters"),
        ("roles:\n  clerk:\n    scopes: [wish]", 3, "/roles/clerk/scopes: no such scope: wish"),
        ("scopes:\n  '*': {}", 2, "must be 1 to 100 printable"),
        ("resources:\n  stock:\n    scopes:\n      a: {}", 4, "must be an absolute URI"),
        ("resources:\n  https://a:\n    scopes: {}", 3, "/resources/https:~1~1a/scopes: "),
        ("trusted_issuers:\n  http://a: {}", 2, "/trusted_issuers/http:~1~1a/issuer: "),
        ("policies:\n  a:\n    token_exchange: {}", 2, "no file describes this client"),
        ("clients:\n  a:\n    token_exchange: {}\npolicies:\n  a:\n    token_exchange: {}", 3,
         "stands in shop.yaml:5 too"),
        ("clients:\n  a:\n    secrets: [{env: A, file: b}]", 3, "takes env or file"),
        ("clients:\n  a:\n    secrets:\n      - env: NOT_THERE", 4, "no environment variable NOT_"),
        ("clients:\n  a:\n    secrets:\n      - file: not-there", 4, "No such file or directory"),
        ("clients:\n  a:\n    secrets:\n      - env: HOME", 4, "must be 32 to 200"),
        ("set: two words", 1, "/set: String should match"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_file_line_and_member(
    identity: Identity, write: Callable[..., Path], text: str, line: int, words: str
) -> None:
    write(text)
    done = identity("apply", "shop.yaml", "--yes")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done
    assert done.err.startswith(f"identity: shop.yaml:{line}: ")
    assert words in done.err


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_all_mistakes_of_all_files_are_told_and_nothing_stands_twice(
    identity: Identity, write: Callable[..., Path]
) -> None:
    write("set: shop\nroles:\n  clerk: {}\n", "one.yaml")
    write("set: other\nroles:\n  clerk: {}\n  boss: {acr: aal1}\n", "two.yaml")
    write("set: shop\nroles:\n\n  clerk:\n", "three.yaml")
    done = identity("apply", "one.yaml", "two.yaml", "three.yaml", "--yes")
    assert done.code == 1
    assert done.err.splitlines() == [
        "identity: two.yaml:4: /roles/boss/acr: Input should be 'aal2' or 'phr'",
        "identity: three.yaml:4: /roles/clerk: stands twice, first in one.yaml:3",
    ]
    write("set: other\nroles:\n  boss: {}\n", "two.yaml")
    done = identity("apply", "one.yaml", "two.yaml", "--yes")
    assert "two.yaml:1: /set: is other, and one.yaml:1 says shop" in done.err
    write("roles:\n" + "".join(f"  r{n}: {{a: 1}}\n" for n in range(50)), "many.yaml")
    done = identity("apply", "many.yaml", "--yes")
    assert len(done.err.splitlines()) == 21
    assert done.err.endswith("identity: and 30 more\n")
