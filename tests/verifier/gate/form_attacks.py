"""Attacks on the form of a token: its algorithm, its segments, its signature."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from identity.verifier.gate.algorithms import ALGORITHMS
from tests.verifier.forger import Attack, Forger, b64, spell, unb64

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def on_algorithm(forger: Forger) -> Iterator[Attack]:
    signed, _, signature = forger.token().rpartition(".")
    payload = signed.partition(".")[2]
    for none in ("none", "None", "NONE", "nOnE", ""):
        header = b64(spell({**forger.header, "alg": none}))
        yield f"header.alg: {none!r} without a signature", f"{header}.{payload}."
        yield f"header.alg: {none!r} with a signature", f"{header}.{payload}.{signature}"

    public = forger.private_key.public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, spki)
    jwk = ALGORITHMS[forger.alg].jwk(public, forger.kid)
    secrets = {
        "PEM": pem,
        "PEM without its last newline": pem.rstrip(),
        "DER": public.public_bytes(serialization.Encoding.DER, spki),
        "JWK": json.dumps(jwk).encode(),
        "compact JWK": json.dumps(jwk, separators=(",", ":")).encode(),
        "kid": forger.kid.encode(),
        "empty secret": b"",
    }
    for name, secret in secrets.items():
        yield f"header.alg: HS256 with the public key as {name}", forger.hmac(secret)
        yield (
            f"signature: {forger.alg} made as HS256 with the public key as {name}",
            forger.hmac(secret, alg=forger.alg),
        )

    others = {"RS512", "ES384", "ES256K", "PS512", "HS512", "dir", "Ed448", forger.alg.swapcase()}
    for other in sorted(others):
        yield f"header.alg: {other}", forger.with_header(alg=other)
    for other in sorted(ALGORITHMS.keys() - {forger.alg}):
        yield f"key.alg: {other} with a key for {forger.alg}", forger.with_header(alg=other)
    if isinstance(forger.private_key, rsa.RSAPrivateKey):
        other = "PS256" if forger.alg == "RS256" else "RS256"
        twin = Forger(forger.private_key, forger.kid, other, forger.claims)
        yield f"key.alg: {other} and truly signed so by a key for {forger.alg}", twin.token()
    for value in (None, True, 256, [forger.alg], {"alg": forger.alg}, forger.alg + " "):
        yield f"header.alg: {value!r}", forger.with_header(alg=value)


def on_segments(forger: Forger) -> Iterator[Attack]:
    good = forger.token()
    head, body, signature = good.split(".")
    yield "segments: the empty string", ""
    yield "segments: one dot", "."
    yield "header: two dots", ".."
    yield "segments: an opaque token", "rt_" + "A" * 43
    yield "segments: without a signature", f"{head}.{body}"
    yield "segments: dot at the end", good + "."
    yield "segments: dot before", "." + good
    yield "segments: five, as of an encrypted token", f"{head}.{body}.{body}.{body}.{signature}"
    yield "segments: dots only", "." * 4000
    yield "header: an empty segment", f".{body}.{signature}"
    yield "signature: empty payload", f"{head}..{signature}"
    yield (
        "segments: JSON serialization",
        json.dumps(
            {"payload": body, "protected": head, "signature": signature}, separators=(",", ":")
        ),
    )
    yield "segments: percent-encoded dots", good.replace(".", "%2E")
    for index, name in enumerate(("header", "payload", "signature")):
        parts = [head, body, signature]
        segment = parts[index]
        spellings = {
            "padded": segment + "=" * (-len(segment) % 4 or 4),
            "with = inside": segment[:4] + "=" + segment[4:],
            "with a foreign character": segment[:4] + "!" + segment[4:],
            "with + in it": segment[:4] + "+" + segment[5:],
            "with / in it": segment[:4] + "/" + segment[5:],
            "with a letter too many": segment + "A" * (-(len(segment) - 1) % 4 or 4),
        }
        for spelling, text in spellings.items():
            parts[index] = text
            yield f"segments: {name} {spelling}", ".".join(parts)
    # The signature covers the odd spelling itself, so only canonicity stands in the way.
    for name in ("header", "payload"):
        octets = spell(forger.header if name == "header" else forger.claims)
        octets += b" " * (-(len(octets) + 1) % 3)  # leaves unused bits in the last character
        segment = b64(octets)
        last = chr(ord(segment[-1]) + 1)
        odd = segment[:-1] + last
        signed = f"{odd}.{body}" if name == "header" else f"{head}.{odd}"
        yield (
            f"segments: {name} with unused bits set, signed so",
            f"{signed}.{b64(forger.sign(signed.encode()))}",
        )
    if len(signature) % 4:
        odd = signature[:-1] + _next_letter(signature[-1])
        yield "segments: signature with unused bits set", f"{head}.{body}.{odd}"
    yield "token: oversized", forger.with_claims(padding="x" * 6200)
    yield "token: oversized with dots", "." * 9000


def _next_letter(letter: str) -> str:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) ^ 1]


def on_signature(forger: Forger) -> Iterator[Attack]:
    good = forger.token()
    signed, _, segment = good.rpartition(".")
    signature = unb64(segment)
    stranger = Forger(ALGORITHMS[forger.alg].generate(), forger.kid, forger.alg, forger.claims)
    other = forger.with_claims(sub="someone-else")
    body = other.split(".")[1]
    forged: dict[str, bytes] = {
        "empty": b"",
        "one bit flipped": bytes([signature[0] ^ 1]) + signature[1:],
        "its last bit flipped": signature[:-1] + bytes([signature[-1] ^ 1]),
        "cut short": signature[:-1],
        "an octet too many": signature + b"\0",
        "a zero octet before": b"\0" + signature,
        "zeros": bytes(len(signature)),
        "ones": b"\xff" * len(signature),
        "twice": signature * 2,
        "reversed": signature[::-1],
        "of another payload": unb64(other.split(".")[2]),
        "of the payload alone": forger.sign(signed.partition(".")[2].encode()),
        "of a stranger under our kid": stranger.sign(signed.encode()),
    }
    if isinstance(forger.private_key, ec.EllipticCurvePrivateKey):
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        forged |= {
            "DER": encode_dss_signature(r, s),
            "r is zero": bytes(32) + signature[32:],
            "s is zero": signature[:32] + bytes(32),
            "r is the order": P256_ORDER.to_bytes(32, "big") + signature[32:],
            "s is the order": signature[:32] + P256_ORDER.to_bytes(32, "big"),
            "r and s exchanged": signature[32:] + signature[:32],
            "r and s are one": (b"\0" * 31 + b"\1") * 2,
            "r and s 48 octets each": b"\0" * 16 + signature[:32] + b"\0" * 16 + signature[32:],
            "s is n - s - 1": signature[:32] + (P256_ORDER - s - 1).to_bytes(32, "big"),
        }
    for name, octets in forged.items():
        yield f"signature: {name}", f"{signed}.{b64(octets)}"
    yield "signature: payload exchanged", f"{signed.partition('.')[0]}.{body}.{segment}"
    yield "signature: header respelled", f"{b64(b' ' + spell(forger.header))}.{body}.{segment}"
