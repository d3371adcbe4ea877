"""Attacks on what a token says: its header, its payload as JSON, its claims."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from identity.verifier.gate.algorithms import ALGORITHMS
from tests.verifier.forger import GONE, Attack, Forger, b64


def on_header(forger: Forger) -> Iterator[Attack]:
    stranger = Forger(ALGORITHMS[forger.alg].generate(), forger.kid, forger.alg, forger.claims)
    own_jwk = ALGORITHMS[forger.alg].jwk(stranger.private_key.public_key(), forger.kid)
    url = "http://127.0.0.1:9/jwks.json"
    for kid in ("unknown", "", "../../../../dev/null", "' UNION SELECT 'x' --", "a\0b", "%", "*"):
        yield f"header.kid: {kid!r}", stranger.with_header(kid=kid)
    yield "header.kid: very long", stranger.with_header(kid="k" * 3000)
    yield "header.kid: ours with a space after", forger.with_header(kid=forger.kid + " ")
    for value in (None, True, 0, [forger.kid], {"kid": forger.kid}):
        # Keys differ from process to process, names must not.
        yield f"header.kid: {value!r}".replace(forger.kid, "ours"), forger.with_header(kid=value)
    yield (
        "header.kid: of a stranger's key",
        Forger(
            stranger.private_key, own_jwk["x" if "x" in own_jwk else "n"], forger.alg, forger.claims
        ).token(),
    )

    foreign: dict[str, object] = {
        "crit": ["exp"],
        "crit, empty": [],
        "crit, of b64": ["b64"],
        "b64": False,
        "b64, true": True,
        "jku": url,
        "x5u": url,
        "jwk": own_jwk,
        "x5c": [base64.b64encode(b"certificate").decode()],
        "x5t": b64(b"\0" * 20),
        "x5t#S256": b64(b"\0" * 32),
        "zip": "DEF",
        "enc": "A128GCM",
        "cty": "JWT",
        "exp": forger.claims["exp"],
        "an unknown one": "foo",
    }
    for name, value in foreign.items():
        member = name.partition(",")[0].replace("an unknown one", "foo")
        yield f"header.members: {name}", forger.with_header(**{member: value})
    yield "header.members: jwk, signed by it", stranger.with_header(jwk=own_jwk)
    yield "header.members: b64 and crit", forger.with_header(b64=False, crit=["b64"])
    for member in ("alg", "typ", "kid"):
        yield f"header.members: no {member}", forger.with_header(**{member: GONE})
    yield "header.members: none at all", forger.token(header={})

    for typ in ("JWT", "jwt", "at", "rt+jwt", "dpop+jwt", "id+jwt", "logout+jwt", "secevent+jwt"):
        yield f"header.typ: {typ}", forger.with_header(typ=typ)
    for odd in (
        "",
        "at+jwt ",
        "at jwt",
        "application/jwt",
        "text/at+jwt",
        "application/at+jwt;a=b",
    ):
        yield f"header.typ: {odd!r}", forger.with_header(typ=odd)
    for value in (None, True, 1, ["at+jwt"], "at+\u0237wt"):
        yield f"header.typ: {value!r}", forger.with_header(typ=value)

    yield from _on_json(forger, "header", forger.header, lambda raw: forger.token(header=raw))


def on_payload(forger: Forger) -> Iterator[Attack]:
    yield from _on_json(forger, "payload", forger.claims, lambda raw: forger.token(payload=raw))
    for name in ("exp", "iat", "nbf"):
        for raw in ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "01", "+1", "0x7fffffff"):
            yield f"payload: {name} is {raw}", forger.spliced(name, raw)
        yield f"payload: {name} has 5,000 digits", forger.spliced(name, "9" * 5000)
    yield "payload: lone surrogate in sub", forger.spliced("sub", r'"\ud800"')
    yield "payload: lone surrogate in an unknown claim", forger.spliced("x", r'{"y": ["\udfff"]}')
    yield "payload: nested duplicate", forger.spliced("act", '{"sub": "a", "sub": "b"}')


def _on_json(
    forger: Forger, part: str, good: dict[str, Any], make: Callable[[str | bytes], str]
) -> Iterator[Attack]:
    text = json.dumps(good)
    first = next(iter(good))
    value = json.dumps(good[first])
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in first)
    raws: dict[str, str | bytes] = {
        "empty": "",
        "a list": f"[{text}]",
        "a string": json.dumps(text),
        "a number": "1",
        "null": "null",
        "a member twice": text[:-1] + f', "{first}": {value}}}',
        "a member twice, the other differs": f'{{"{first}": "x", ' + text[1:],
        "a member twice, once escaped": text[:-1] + f', "{escaped}": {value}}}',
        "an unknown member twice": text[:-1] + ', "x": 1, "x": 2}',
        "a duplicate deep inside": text[:-1] + ', "x": [{"y": 1, "y": 2}]}',
        "NaN": text[:-1] + ', "x": NaN}',
        "Infinity": text[:-1] + ', "x": Infinity}',
        "1e999": text[:-1] + ', "x": 1e999}',
        "a lone high surrogate": text[:-1] + r', "x": "\ud800"}',
        "a lone low surrogate in a name": text[:-1] + r', "\udc00": 1}',
        "surrogates the wrong way round": text[:-1] + r', "x": "\udc00\ud800"}',
        "a surrogate as UTF-8": text[:-1].encode() + b', "x": "\xed\xa0\x80"}',
        "overlong UTF-8": text[:-1].encode() + b', "x": "\xc0\xaf"}',
        "Latin-1": text[:-1].encode() + b', "x": "\xe9"}',
        "UTF-16": text.encode("utf-16"),
        "UTF-16 without its mark": text.encode("utf-16-le"),
        "UTF-32": text.encode("utf-32"),
        "a byte order mark": b"\xef\xbb\xbf" + text.encode(),
        "nine levels": text[:-1] + ', "x": ' + "[" * 8 + "]" * 8 + "}",
        "a thousand lists": text[:-1] + ', "x": ' + "[" * 1000 + "]" * 1000 + "}",
        "a thousand lists never closed": text[:-1] + ', "x": ' + "[" * 1000,
        "a thousand objects": text[:-1] + ', "x": ' + '{"x":' * 500 + "1" + "}" * 500 + "}",
        "only brackets": "[" * 2000,
        "only braces": '{"":' * 600,
        "quotes that hide brackets": '{"x": "' + '\\"' * 900 + "[" * 900,
        "something after": text + "{}",
        "NUL after": text + "\0",
        "a comma too many": text[:-1] + ",}",
        "single quotes": text.replace('"', "'"),
        "a comment": text + "/**/",
        "a raw newline in a string": text[:-1] + ', "x": "\n"}',
        "a raw NUL in a string": text[:-1] + ', "x": "\0"}',
    }
    for name, raw in raws.items():
        yield f"{part}: {name}", make(raw)


def on_claims(forger: Forger) -> Iterator[Attack]:
    claims = forger.claims
    issuer, expires_at, issued_at = claims["iss"], claims["exp"], claims["iat"]
    audience = claims["aud"] if isinstance(claims["aud"], str) else claims["aud"][0]
    never_strings = (GONE, None, True, 0, "", [], {}, ["x"])
    never_times = (GONE, None, True, False, "", "soon", str(expires_at), "Infinity", [], [0], {})
    cases: list[tuple[str, object]] = [
        *(("iss", value) for value in (*never_strings, [issuer], "https://evil.example")),
        *(("iss", value) for value in (issuer + "/", issuer.upper(), issuer + "\0", " " + issuer)),
        *(("aud", value) for value in (GONE, None, True, 0, "", [], {}, [""], [audience, None])),
        *(("aud", value) for value in ([audience, 1], [[audience]], {"aud": audience})),
        *(("exp", value) for value in (*never_times, -1, 0, issued_at - 86400, 10**30, 1e300)),
        *(("iat", value) for value in (*never_times, -1, expires_at + 86400, 10**30, 1e300)),
        *(("nbf", value) for value in (*never_times[1:], -1, expires_at + 86400, 10**30, 1e300)),
        *((name, value) for name in ("sub", "client_id", "jti") for value in never_strings),
        *(("scope", value) for value in (None, True, 0, [], ["a"], {}, "a  b", " a", "a ", "a\tb")),
        *(("scope", value) for value in ("a\u00a0b", 'a"b', "a\\b", "a\nb", "a\u2003admin")),
        *((name, value) for name in ("sid", "username") for value in never_strings[1:]),
        *(("act", value) for value in (None, True, 0, "orders", [], {}, {"sub": ""}, {"sub": 1})),
        *(("act", {"sub": "a", "act": value}) for value in (None, {}, "b", {"sub": None})),
        *(("roles", value) for value in (None, True, 0, "admin", {}, [1], [""], [["a"]], [None])),
    ]
    for name, value in cases:
        shown = "missing" if value is GONE else repr(value)
        yield f"{name}: {shown}", forger.with_claims(**{name: value})
