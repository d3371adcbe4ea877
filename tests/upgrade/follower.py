"""A sibling with the verifier of whichever version is on its path: `follower.py MODE ISSUER
AUDIENCE CLIENT SECRET PORT`. It reads lines and answers each by one:

`TOKEN` by `alive` or how it was refused, `port N` by `moved` (it finds its issuer there from now
on), `position` by the one it would go on from and how often it was told to begin anew.
"""

import asyncio
import sys

import httpx

from identity.verifier import TokenRefused, Verifier


class There(httpx.AsyncHTTPTransport):
    """Whatever is asked of the issuer is asked of this machine's `port`."""

    port = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(host="127.0.0.1", port=self.port)
        return await super().handle_async_request(request)


async def main(mode: str, issuer: str, audience: str, client: str, secret: str, port: str) -> None:
    there, resets = There(), 0
    there.port = int(port)
    verifier = Verifier(
        issuer, audience, client_id=client, client_secret=secret, on_stale="refuse",
        revocations=mode, transport=there,  # type: ignore[arg-type]
    )  # fmt: skip
    feed = verifier.source
    begin_anew = feed.reset  # type: ignore[attr-defined]

    def reset() -> None:
        nonlocal resets
        resets += 1
        begin_anew()

    feed.reset = reset  # type: ignore[attr-defined]
    async with verifier:
        print("ready", flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            said = "alive"
            match line.split():
                case ["port", number]:
                    there.port, said = int(number), "moved"
                case ["position"]:
                    said = f"{feed.position} {resets}"  # type: ignore[attr-defined]
                case _:
                    try:
                        await verifier.verify(line)
                    except TokenRefused as refusal:
                        said = type(refusal).__name__
            print(said, flush=True)


asyncio.run(main(*sys.argv[1:]))
