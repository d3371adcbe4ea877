"""Readings with one spelling: base64url and JSON as RFC 7515 and RFC 8259 mean them, nothing more.

Libraries pad, skip and guess. Two parties that guess differently see two different tokens,
so everything here refuses what is ambiguous. Errors are `ValueError` with a sentence.
"""

from __future__ import annotations

import json
import math
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from types import ModuleType
from typing import Any, NoReturn

# Siblings need neither: the gate says the same without them, a little later.
orjson: ModuleType | None
try:
    import orjson
except ImportError:
    orjson = None
_b64decode: Callable[..., bytes] | None
_b64encode: Callable[..., bytes] | None
try:
    from pybase64 import b64decode as _b64decode
    from pybase64 import b64encode as _b64encode
except ImportError:
    _b64decode = _b64encode = None

MAX_DEPTH = 8
"""Objects and lists within each other, the outermost counted. RFC 9396 claims need five."""

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
# One pass turns the URL alphabet into the standard one and every other byte into one that
# a2b_base64's strict mode refuses: "+", "/", "=" and whitespace must not slip through.
_TO_STANDARD = bytes(
    {45: 43, 95: 47}.get(byte, byte) if byte in _ALPHABET else 33 for byte in range(256)
)
# The last character carries two or four bits that the octets do not use; they must be zero.
_LAST_OF_TWO = frozenset(_ALPHABET[0:64:16])
_LAST_OF_THREE = frozenset(_ALPHABET[0:64:4])


def _a2b(segment: bytes, padding: bytes) -> bytes:
    return a2b_base64(segment.translate(_TO_STANDARD) + padding, strict_mode=True)


if _b64decode is None:
    _decode = _a2b
else:
    _pybase64 = _b64decode

    def _decode(segment: bytes, padding: bytes) -> bytes:
        # To it, "+" and "/" are of the URL's alphabet as well. Integers: as octets they take ten
        # times as long to look for.
        if 0x2B in segment or 0x2F in segment or 0x3D in segment:
            raise Base64Error
        return _pybase64(segment + padding, b"-_", True)


def b64url_decode(segment: bytes) -> bytes:
    """The octets whose only unpadded base64url spelling is `segment` (RFC 7515 §2)."""
    over = len(segment) % 4
    canonical, padding = True, b""
    if over == 1:
        raise ValueError("not base64url: impossible length")
    if over == 2:
        canonical, padding = segment[-1] in _LAST_OF_TWO, b"=="
    elif over == 3:
        canonical, padding = segment[-1] in _LAST_OF_THREE, b"="
    try:
        octets = _decode(segment, padding)
    except Base64Error:
        raise ValueError("not base64url: foreign character or padding") from None
    if not canonical:
        raise ValueError("not base64url: unused bits are set")
    return octets


def b64url_encode(octets: bytes) -> bytes:
    """Unpadded base64url."""
    if _b64encode is not None:
        return _b64encode(octets, b"-_").rstrip(b"=")
    return b2a_base64(octets, newline=False).rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")


# A string (closed or running to the end) is stepped over whole, so that the scan is linear.
_BRACKETS = re.compile(r'"(?:[^"\\]+|\\.?)*+"?|[\[{]|[\]}]', re.DOTALL)


def _check_depth(text: str) -> None:
    """Before json sees it: its scanner recurses once for every level."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _BRACKETS.finditer(text):
        first = match[0][0]
        if first in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"JSON nests deeper than {MAX_DEPTH}")
        elif first in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("JSON object has a member twice")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("JSON number is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant
)

# What raw_decode calls, for half a microsecond less.
_scan = _DECODER.scan_once  # type: ignore[attr-defined]


def _compact(octets: bytes) -> dict[str, Any] | None:
    """The object in `octets` as our issuer writes it: what is read, written again, is the same to
    the octet. So nothing in it comes twice, and nothing could be read in another way. None where it
    is written otherwise, be it good or not. Takes a third of the time, where orjson is installed.
    """
    if orjson is None or octets.count(b"[") + octets.count(b"{") > MAX_DEPTH:
        return None
    try:
        value: Any = orjson.loads(octets)
        return value if type(value) is dict and orjson.dumps(value) == octets else None
    except ValueError:
        return None


def json_object(octets: bytes) -> dict[str, Any]:
    """The JSON object (RFC 8259) in `octets`: UTF-8 without BOM, members unique at every depth.

    Refuses NaN, Infinity, numbers that overflow a double, lone surrogates and deep nesting.
    """
    if (compact := _compact(octets)) is not None:
        return compact
    try:
        text = octets.decode("utf-8").strip(" \t\n\r")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    _check_depth(text)
    try:
        value, end = _scan(text, 0)
    except (json.JSONDecodeError, StopIteration):
        raise ValueError("not JSON") from None
    if end != len(text):
        raise ValueError("not JSON: something follows it")
    if type(value) is not dict:
        raise ValueError("JSON is not an object")
    if "\\" in text and "\\u" in text:  # looking for one character first takes a tenth
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("JSON string has a lone surrogate") from None
    return value
