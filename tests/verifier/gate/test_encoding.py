"""One spelling of base64url, one reading of JSON."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier.gate import encoding
from identity.verifier.gate.encoding import MAX_DEPTH, b64url_decode, b64url_encode, json_object

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(-1e308, 1e308),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(st.binary())
def test_octets_come_back_from_their_base64url(octets: bytes) -> None:
    segment = b64url_encode(octets)
    assert segment == base64.urlsafe_b64encode(octets).rstrip(b"=")
    assert b64url_decode(segment) == octets


@given(st.binary() | st.from_regex(rb"[A-Za-z0-9_=+/ \n-]*", fullmatch=True))
def test_whatever_is_decoded_has_that_one_spelling(segment: bytes) -> None:
    try:
        octets = b64url_decode(segment)
    except ValueError:
        return
    assert b64url_encode(octets) == segment


@given(st.binary() | st.from_regex(rb"[A-Za-z0-9_=+/ \n-]*={0,3}", fullmatch=True))
def test_base64url_reads_the_same_whether_pybase64_is_installed_or_not(segment: bytes) -> None:
    pytest.importorskip("pybase64")
    assert encoding._decode is not encoding._a2b
    with mock.patch.object(encoding, "_decode", encoding._a2b):
        without = octets_or_refusal(segment)
    assert octets_or_refusal(segment) == without


@given(st.binary())
def test_base64url_is_written_the_same_whether_pybase64_is_installed_or_not(octets: bytes) -> None:
    pytest.importorskip("pybase64")
    assert encoding._b64encode is not None
    with mock.patch.object(encoding, "_b64encode", None):
        without = b64url_encode(octets)
    assert b64url_encode(octets) == without


def octets_or_refusal(segment: bytes) -> bytes | str:
    try:
        return b64url_decode(segment)
    except ValueError as problem:
        return f"refused: {problem}"


@pytest.mark.parametrize("byte", [bytes([byte]) for byte in range(256)])
def test_only_the_64_characters_are_base64url(byte: bytes) -> None:
    segment = b"AAA" + byte
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    if byte in alphabet:
        assert len(b64url_decode(segment)) == 3
    else:
        with pytest.raises(ValueError, match="foreign character"):
            b64url_decode(segment)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans())
def test_json_objects_come_back_as_they_were(value: dict[str, Any], ascii_only: bool) -> None:
    octets = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")
    if depth(value) > MAX_DEPTH:
        with pytest.raises(ValueError, match="deeper"):
            json_object(octets)
    else:
        assert json_object(octets) == value


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_octets_raise_anything_but_value_error(octets: bytes) -> None:
    try:
        json_object(octets)
    except ValueError as problem:
        assert str(problem)  # noqa: PT017


def outcome(octets: bytes) -> str:
    """With types and signs: 1 is not 1.0, nor 0.0 -0.0."""
    try:
        return repr(json_object(octets))
    except ValueError as problem:
        return f"refused: {problem}"


@given(
    st.dictionaries(st.text(), JSON, max_size=5).map(
        lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    )
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.from_regex(rb'\{"a":(-?[0-9]{1,25}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?,"b":)?[0-9]\}'),
)
def test_json_reads_the_same_whether_orjson_is_installed_or_not(octets: bytes) -> None:
    pytest.importorskip("orjson")
    with mock.patch.object(encoding, "orjson", None):
        without = outcome(octets)
    assert outcome(octets) == without


@pytest.mark.parametrize(
    "octets",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":1e999}',
        b'{"a":NaN}',
        b'{"a":18446744073709551616}',
        b'{"a":-0}',
        b'{"a":1e16}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\/"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":1} {}',
        b'\xef\xbb\xbf{"a":1}',
        b"[1]",
    ],
)
def test_what_has_two_readings_is_never_left_to_orjson(octets: bytes) -> None:
    assert encoding._compact(octets) is None


@given(st.text(alphabet='[]{}",:\\a1 ', max_size=60))
def test_json_that_is_read_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        value = json_object(text.encode())
    except ValueError:
        return
    assert value == json.loads(text)
    assert depth(value) <= MAX_DEPTH


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"b":', "}")])
def test_the_eighth_level_is_the_last(levels: int, opens: str, closes: str) -> None:
    inner = opens * (levels - 1) + "1" + closes * (levels - 1)
    octets = f'{{"a": {inner}}}'.encode()
    if levels <= MAX_DEPTH:
        assert depth(json_object(octets)) == levels
    else:
        with pytest.raises(ValueError, match="deeper"):
            json_object(octets)


@pytest.mark.parametrize(
    "text",
    ["[" * 6000, '{"":' * 1500, '"\\' * 3000, '\\"' * 3000, '{"a":"' + '\\"[' * 2000, "[]" * 3000],
)
def test_hostile_text_is_refused_in_linear_time(text: str) -> None:
    began = time.thread_time()
    for _ in range(5):
        with pytest.raises(ValueError, match="JSON"):
            json_object(text.encode())
    assert time.thread_time() - began < 0.5


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert json_object(rb'{"a": "\ud83d\ude00"}') == {"a": "\U0001f600"}
