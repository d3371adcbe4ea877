"""What siblings pay to verify a token themselves, and how soon they know of a revocation.

The sibling is a process of its own: `python -m bench.siblings watch …` verifies tokens without
pause and prints when it first refused each; the monotonic clock is the same in both processes.
"""

import argparse
import asyncio
import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bench import processes
from bench.paced import percentile
from bench.report import Figure
from bench.world import BASIC, CLIENT, SECRET, World
from identity.opaque import new_id
from identity.verifier import Gate, VerificationKey, Verifier
from identity.verifier.errors import TokenRefused
from identity.verifier.gate.algorithms import ALGORITHMS
from identity.verifier.gate.encoding import b64url_encode

REVOKED = 1_000
STREAMS = 1_000
STATUS_LIST_TTL = 5.0
SNAPSHOT = 4 * 1024 * 1024
"""Bytes that a stream may say before it is up to date: every revocation of the parts before."""


def figures(
    server: processes.Process, world: World, folder: Path, options: argparse.Namespace
) -> list[Figure]:
    count = min(REVOKED, options.revocations)
    streams = min(STREAMS, options.streams)
    return [
        *asyncio.run(_verifying(server.port, world, options.rounds)),
        *_verifying_each(world, options.rounds),
        *_revoking(server.port, world, folder, "stream", count, at_most=0.25),
        *_revoking(
            server.port, world, folder, "status-list", min(count, 100), at_most=STATUS_LIST_TTL + 1
        ),
        *(asyncio.run(_streaming(server, world, streams)) if streams else ()),
    ]


def _verifying_each(world: World, rounds: int) -> list[Figure]:
    """New tokens of every algorithm against the bare check of their signatures, fifty of each in
    turn, in processor time: the least of all turns over the least, for neighbours only ever add.
    The claims are the service's own, written as it writes them; the keys are of the size that it
    makes."""
    (token,) = world.access_tokens(1)
    claims = json.loads(_decoded(token.split(".")[1].encode()))
    figures = []
    for name, algorithm in ALGORITHMS.items():
        private = algorithm.generate()
        sign, jwk = algorithm.signer(private), algorithm.jwk(private)
        key = VerificationKey(jwk["kid"], name, algorithm.verifier(jwk))
        gate = Gate(claims["iss"], {key.kid: key}.get, claims["aud"])
        bare = _bare(name, private.public_key())
        ours, floor = [], []
        for turn in range(20 * rounds):
            tokens, signed = [], []
            for _ in range(50):
                claims |= {"jti": new_id(), "sid": new_id()}
                head = {"alg": name, "typ": "at+jwt", "kid": key.kid}
                message = b".".join(b64url_encode(_compact(part)) for part in (head, claims))
                signature = sign(message)
                tokens.append((message + b"." + b64url_encode(signature)).decode())
                signed.append((_as_der(signature) if name == "ES256" else signature, message))
            work = [(ours, tokens, gate.check), (floor, signed, bare)]
            # The first finds the processor's caches as signing left them.
            for times, items, check in work if turn % 2 else reversed(work):
                times.append(_each(items, check))
        figures.append(
            Figure(
                f"gate: a new {name} token, × bare signature check",
                min(ours) / min(floor),
                "×",
                at_most=1.3,
            )
        )
    return figures


def _compact(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()


def _bare(name: str, key: Any) -> Callable[[tuple[bytes, bytes]], None]:
    """What `cryptography` alone takes."""
    sha256 = hashes.SHA256()
    how: tuple[Any, ...] = {
        "ES256": (ec.ECDSA(sha256),),
        "RS256": (padding.PKCS1v15(), sha256),
        "PS256": (padding.PSS(padding.MGF1(sha256), 32), sha256),
        "EdDSA": (),
    }[name]
    return lambda pair: key.verify(*pair, *how)


def _as_der(signature: bytes) -> bytes:
    return encode_dss_signature(
        *(int.from_bytes(h, "big") for h in (signature[:32], signature[32:]))
    )


async def _verifying(port: int, world: World, rounds: int) -> list[Figure]:
    """A known token in microseconds, a new one against the bare check of its signature."""
    issuer = world.settings.issuer
    async with Verifier(
        issuer, issuer, client_id=CLIENT, client_secret=SECRET, cache_size=100_000
    ) as verifier:
        async with httpx.AsyncClient(base_url=issuer) as client:
            published = (await client.get("/.well-known/jwks.json")).json()["keys"]
        (jwk,) = (each for each in published if each["alg"] == "ES256")
        key = ALGORITHMS["ES256"].verifier(jwk)
        known, new = [], []
        for _ in range(rounds):
            tokens = world.access_tokens(2_000)
            parts = [token.encode().rpartition(b".") for token in tokens]
            signed = [(message, _decoded(signature)) for message, _, signature in parts]
            bare = _each(signed, lambda pair: key(*pair))
            new.append(_each(tokens, verifier.check) / bare)
            known.append(_each(tokens, verifier.check) * 1e6)
    return [
        Figure("verifier: a known token", statistics.median(known), "µs", at_most=5),
        Figure(
            "verifier: a new token, × bare signature check",
            statistics.median(new),
            "×",
            at_most=1.3,
        ),
    ]


def _each(items: Sequence[Any], work: Callable[[Any], object]) -> float:
    began = time.process_time()
    for item in items:
        work(item)
    return (time.process_time() - began) / len(items)


def _decoded(text: bytes) -> bytes:
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _revoking(
    port: int, world: World, folder: Path, how: str, count: int, *, at_most: float
) -> list[Figure]:
    """From the answer of `/revoke` to the first refusal in the sibling."""
    tokens = world.access_tokens(count)
    listed = folder / f"tokens-{how}"
    listed.write_text("\n".join(tokens))
    sibling = subprocess.Popen(
        [sys.executable, "-m", "bench.siblings", "watch", world.settings.issuer, how, str(listed)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sibling.stdin is not None
    assert sibling.stdout is not None
    sibling.stdin.write(json.dumps(SECRET) + "\n")  # not among the arguments, which all can read
    sibling.stdin.flush()
    if sibling.stdout.readline() != "ready\n":
        raise RuntimeError("the sibling did not start")
    answered = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        for token in tokens:
            client.post("/revoke", data={"token": token}).raise_for_status()
            answered.append(time.monotonic())
            time.sleep(0.005 if how == "stream" else 0.02)
    refused = json.loads(sibling.communicate(timeout=60)[0])
    delays = [max(0.0, at - said) * 1000 for at, said in zip(refused, answered, strict=True)]
    name = f"revocation to refusal by {how}"
    return [
        Figure(f"{name}, p50", percentile(delays, 0.5), "ms"),
        Figure(f"{name}, p99", percentile(delays, 0.99), "ms", at_most=at_most * 1000),
        Figure(f"{name}, max", max(delays), "ms"),
    ]


async def _watch(issuer: str, how: str, secret: str, tokens: list[str]) -> None:
    refused = [0.0] * len(tokens)
    async with Verifier(
        issuer, issuer, client_id=CLIENT, client_secret=secret,
        revocations="stream" if how == "stream" else "status-list",
    ) as verifier:  # fmt: skip
        for token in tokens:
            await verifier.verify(token)
        print("ready", flush=True)
        left = set(range(len(tokens)))
        deadline = time.monotonic() + 50
        while left and time.monotonic() < deadline:
            for number in sorted(left)[:50]:  # they are revoked in this order
                try:
                    await verifier.verify(tokens[number])
                except TokenRefused:
                    refused[number] = time.monotonic()
                    left.discard(number)
            await asyncio.sleep(0.001)
    if left:
        raise SystemExit(f"{len(left)} revoked tokens were never refused")
    print(json.dumps(refused))


async def _streaming(server: processes.Process, world: World, count: int) -> list[Figure]:
    """Memory of a stream, and the time until all have heard of one revocation."""
    before = server.rss[0]
    request = (
        "GET /revocations HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n"
        f"Authorization: {BASIC}\r\n\r\n"
    ).encode()
    streams = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=SNAPSHOT)
        writer.write(request)
        streams.append((reader, writer))
    await asyncio.gather(*(reader.readuntil(b"event: live") for reader, _ in streams))
    grown = (server.rss[0] - before) * 1024 / count
    delays = []
    for token in world.access_tokens(10):
        async with httpx.AsyncClient() as client:
            heard = [
                asyncio.create_task(reader.readuntil(b"event: revoked")) for reader, _ in streams
            ]
            address = f"http://127.0.0.1:{server.port}/revoke"
            (await client.post(address, data={"token": token})).raise_for_status()
            said = time.monotonic()
            await asyncio.gather(*heard)
            delays.append((time.monotonic() - said) * 1000)
    for _, writer in streams:
        writer.close()
    return [
        Figure(f"memory of a stream, of {count:,}", grown, "KB"),
        Figure(f"one revocation heard by all {count:,} streams", statistics.median(delays), "ms"),
    ]


if __name__ == "__main__":
    _, _, its_issuer, its_way, its_tokens = sys.argv
    its_secret = json.loads(sys.stdin.readline())
    asyncio.run(_watch(its_issuer, its_way, its_secret, Path(its_tokens).read_text().split("\n")))
