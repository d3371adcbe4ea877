"""Tokens that are made from good ones by a hand that does not have the key: in this process against
the gate, and over HTTP against a real server."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from identity.verifier import Refused
from identity.verifier.gate.algorithms import ALGORITHMS
from tests.faults.replicas import Line
from tests.faults.stages import started
from tests.trials.row import Dice, Outcome, Place
from tests.verifier.forge import attacks, malleated
from tests.verifier.forger import Forger, b64, unb64
from tests.verifier.sample import forger, gate, private_key
from tests.world import claims_of

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ~"
RAISED: dict[str, Any] = {
    "sub": "0199a6b0-0000-7000-8000-00000000000f", "roles": ["admin"], "exp": 4_000_000_000,
    "scope": "users:write keys:write *", "client_id": "shop", "jti": "x", "username": "admin",
    "aud": "https://other.example", "cnf": None, "nbf": 0, "iat": 0, "sid": None,
}  # fmt: skip
HEADERS: dict[str, Any] = {
    "alg": "none", "kid": "../../dev/null", "typ": "JWT", "crit": ["exp"], "b64": False,
    "jku": "https://evil.example/keys", "jwk": {"kty": "oct", "k": "AA"}, "x5c": ["AA"],
}  # fmt: skip


@dataclass
class Mint:
    """Good tokens, which no forged one may be, and what a forger knows."""

    genuine: Sequence[str]
    corpus: Sequence[str]
    """Attacks that we know of by name."""

    def __post_init__(self) -> None:
        other = [malleated(token) for token in self.genuine if _alg(token) == "ES256"]
        self.good = {*self.genuine, *other}

    def forged(self, dice: Dice) -> str:
        token = dice.choice(self.genuine)
        while token in self.good:
            if dice.random() < 0.1:
                token = dice.choice(self.corpus)
            else:
                for _ in range(dice.choice((1, 1, 1, 2, 3))):
                    token = dice.choice(WAYS)(token, self.genuine, dice)
        return token


def _alg(token: str) -> str:
    alg: str = json.loads(unb64(token.partition(".")[0]))["alg"]
    return alg


def _bit(token: str, _: Sequence[str], dice: Dice) -> str:
    """Of the octets of a segment, so that it stays base64url."""
    parts = token.split(".")
    which = dice.randrange(len(parts))
    try:
        octets = bytearray(unb64(parts[which]))
    except ValueError:
        return token[::-1]
    if octets:
        octets[dice.randrange(len(octets))] ^= 1 << dice.randrange(8)
    parts[which] = b64(bytes(octets))
    return ".".join(parts)


def _letter(token: str, _: Sequence[str], dice: Dice) -> str:
    at = dice.randrange(len(token) + 1)
    return token[:at] + dice.choice(ALPHABET) + token[at + dice.randrange(2) :]


def _cut(token: str, _: Sequence[str], dice: Dice) -> str:
    at = dice.randrange(len(token) + 1)
    return token[:at] + token[at + dice.choice((1, 4, 40, 10_000)) :]


def _segments(token: str, genuine: Sequence[str], dice: Dice) -> str:
    """One of another good token in place of one of its own, or in another order."""
    parts, others = token.split("."), dice.choice(genuine).split(".")
    if dice.random() < 0.3:
        dice.shuffle(parts)
    else:
        which = dice.randrange(3)
        parts = [*parts, "", ""][:3]
        parts[which] = others[dice.choice((which, which, dice.randrange(3)))]
    return ".".join(parts)


def _claims(token: str, _: Sequence[str], dice: Dice) -> str:
    return _member(1, RAISED, token, dice)


def _header(token: str, _: Sequence[str], dice: Dice) -> str:
    return _member(0, HEADERS, token, dice)


def _member(which: int, values: dict[str, Any], token: str, dice: Dice) -> str:
    """Another value of one member, and the signature of before."""
    parts = token.split(".")
    try:
        document = json.loads(unb64(parts[which]))
        name = dice.choice(sorted(values))
        document[name] = values[name]
        parts[which] = b64(json.dumps(document).encode())
    except (ValueError, LookupError, TypeError):
        return token + "."
    return ".".join(parts)


def _unsigned(token: str, _: Sequence[str], dice: Dice) -> str:
    """With a signature of zeros, of noise, or of none."""
    head, _, _ = token.rpartition(".")
    size = dice.choice((0, 1, 32, 63, 64, 65, 96, 256, 384))
    return f"{head}.{b64(dice.choice((bytes(size), dice.randbytes(size))))}"


Way = Callable[[str, Sequence[str], Dice], str]
WAYS: tuple[Way, ...] = (_bit, _letter, _cut, _segments, _claims, _header, _unsigned)


# --- In this process -----------------------------------------------------------------------------


@contextmanager
def at_the_gate(_: str, place: Place) -> Iterator[Mint]:
    """Good tokens of every algorithm, and a corpus signed by keys that are not trusted under the
    names of those that are."""
    genuine, corpus = [], []
    for alg in ALGORITHMS:
        mine = forger(alg)
        genuine += [mine.token(), mine.with_claims(jti="another"), mine.with_claims(sub="bob")]
        stranger = ALGORITHMS[alg].generate()
        corpus += [token for _, token in attacks(stranger, mine.kid, alg, mine.claims)]
        corpus.append(Forger(stranger, mine.kid, alg, mine.claims).token())
        corpus += [token for _, token in attacks(private_key(alg), mine.kid, alg, mine.claims)]
    yield Mint(genuine, corpus)


def refused_at_the_gate(mint: Mint, dice: Dice) -> Outcome:
    seen = Outcome()
    token = mint.forged(dice)
    checking = gate(leeway=30)
    try:
        checking.check(token)
        seen.see(False, f"taken: {token}")
    except Refused:
        pass
    if dice.random() < 0.01:
        checking.check(dice.choice(mint.genuine))  # the gate does take good ones
    return seen


# --- Over HTTP -----------------------------------------------------------------------------------


@dataclass
class OverHttp:
    line: Line
    mint: Mint


@contextmanager
def over_http(database: str, place: Place) -> Iterator[OverHttp]:
    with started(database, place, 1) as replicas, replicas.lines() as (line,):
        logins = [line.log_in(replicas.user().username) for _ in range(3)]
        genuine = [login["access_token"] for login in logins] + [line.issue()]
        kid = json.loads(unb64(genuine[0].partition(".")[0]))["kid"]
        claims = dict(claims_of(genuine[0]))
        corpus = []
        for alg in ALGORITHMS:
            stranger = ALGORITHMS[alg].generate()
            corpus += [token for _, token in attacks(stranger, kid, alg, claims)]
            corpus.append(Forger(stranger, kid, alg, claims).token())
        corpus = [each for each in corpus if each and each.isascii() and each.isprintable()]
        yield OverHttp(line, Mint(genuine, corpus))


def refused_over_http(stage: OverHttp, dice: Dice) -> Outcome:
    seen = Outcome()
    token = stage.mint.forged(dice)
    if dice.random() < 0.5:
        answer = stage.line.post("/introspect", token=token)
        empty = answer.status == 400 and not token.strip()
        dead = answer.status == 200 and answer.document == {"active": False}
        seen.see(dead or empty, f"introspection: {answer.status} {answer.body[:80]!r}: {token}")
    else:
        answer = stage.line.get("/users/me", authorization=f"Bearer {token}")
        trimmed = token.strip() in stage.mint.good  # around it HTTP allows white space
        refused = answer.status in (401, 431) or (answer.status == 200 and trimmed)
        seen.see(refused, f"bearer: {answer.status}: {token}")
    if dice.random() < 0.01:
        good = dice.choice(stage.mint.genuine)
        seen.see(stage.line.active(good), "a good token was refused")
    return seen
