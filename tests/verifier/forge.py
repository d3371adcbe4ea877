"""Forged tokens: every attack that the gate must turn away, ready for tests at any level.

`attacks(private_key, kid, alg, claims)` gives `(name, token)` pairs. `claims` are those of a
good token at the time of the attack. A name is `rule: what was done`, where `rule` is the reason
for which the gate refuses. All are ASCII without whitespace or control characters, so they fit
into a header or a form; `unprintable_attacks` gives those that fit only into a body.

Written from the RFCs and independent of how the gate reads tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from identity.verifier.gate.algorithms import PrivateKey
from tests.verifier.forger import Attack, Forger, b64, unb64
from tests.verifier.gate import content_attacks, form_attacks


def attacks(private_key: PrivateKey, kid: str, alg: str, claims: Mapping[str, Any]) -> list[Attack]:
    """Every attack, as `(name, token)`; names are unique."""
    forger = Forger(private_key, kid, alg, claims)
    return [
        *form_attacks.on_algorithm(forger),
        *content_attacks.on_header(forger),
        *form_attacks.on_segments(forger),
        *form_attacks.on_signature(forger),
        *content_attacks.on_payload(forger),
        *content_attacks.on_claims(forger),
    ]


def unprintable_attacks(
    private_key: PrivateKey, kid: str, alg: str, claims: Mapping[str, Any]
) -> list[Attack]:
    """Whitespace, control characters and text beyond ASCII in the token itself."""
    good = Forger(private_key, kid, alg, claims).token()
    head, body, signature = good.split(".")
    return [
        ("segments: newline at the end", good + "\n"),
        ("segments: space before", " " + good),
        ("segments: newline in the payload", f"{head}.{body[:8]}\n{body[8:]}.{signature}"),
        ("segments: tab in the signature", f"{head}.{body}.{signature[:4]}\t{signature[4:]}"),
        ("segments: NUL at the end", good + "\0"),
        ("segments: scheme before", "Bearer " + good),
        ("token: no-break space at the end", good + "\u00a0"),
        ("token: byte order mark before", "\ufeff" + good),
        ("token: fullwidth letter", f"{head}.{body}.\uff21{signature[1:]}"),
        ("token: Arabic digit", f"{head}.{body}.\u0660{signature[1:]}"),
        ("token: ideographic full stop", f"{head}\u3002{body}.{signature}"),
    ]


def malleated(token: str) -> str:
    """The other ES256 signature, (r, n - s), that every verifier must accept: the same token."""
    signed, _, signature = token.rpartition(".")
    r, s = unb64(signature)[:32], int.from_bytes(unb64(signature)[32:], "big")
    return f"{signed}.{b64(r + (form_attacks.P256_ORDER - s).to_bytes(32, 'big'))}"
