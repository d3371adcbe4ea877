"""The floor: bare ASGI answers of our size on the same uvicorn. Nothing can be faster here."""

from typing import Any

BODY = b'{"active":true,"padding":"' + b"x" * 400 + b'"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
}
END = {"type": "http.response.body", "body": BODY}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    await send(START)
    await send(END)
