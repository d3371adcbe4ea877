"""The fast lane: found before FastAPI, as strict as the RFCs, and out of everybody's way."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from identity.errors import InvalidClient, InvalidToken, Overloaded
from identity.http.lane import Lane
from identity.http.messages import BODY_LIMIT, Request, Response, json_response

pytestmark = pytest.mark.anyio
FORM = {"content-type": "application/x-www-form-urlencoded"}


def lane() -> Lane:
    app = FastAPI()

    @app.put("/both")
    async def put() -> str:
        return "fastapi"

    @app.get("/slow")
    async def slow() -> str:
        return "fastapi"

    lane = Lane(app)
    kept = Response(200, [(b"cache-control", b"max-age=300"), (b"etag", b'"1"')], b"kept")

    async def echo(request: Request) -> Response:
        return json_response(await request.form())

    async def who(request: Request) -> Response:
        return json_response(
            {
                "authorization": (request.header(b"authorization") or b"").decode(),
                "accept": (request.header(b"accept") or b"").decode(),
                "query": request.query,
                "address": request.address,
            }
        )

    async def always(request: Request) -> Response:
        return kept

    async def refuses(request: Request) -> Response:
        raise InvalidClient("who are you?", audit="secret is wrong")

    async def busy(request: Request) -> Response:
        raise Overloaded(7)

    async def bearer(request: Request) -> Response:
        raise InvalidToken("it has expired")

    async def breaks(request: Request) -> Response:
        raise RuntimeError("boom")

    lane.add("POST", "/token", echo, oauth=True)
    lane.add("POST", "/both", echo, oauth=False)
    lane.add("GET", "/who", who, oauth=False)
    lane.add("GET", "/kept", always, oauth=False)
    lane.add("POST", "/refuses", refuses, oauth=True)
    lane.add("POST", "/busy", busy, oauth=True)
    lane.add("GET", "/bearer", bearer, oauth=False)
    lane.add("POST", "/breaks", breaks, oauth=True)
    lane.add("GET", "/breaks", breaks, oauth=False)
    return lane


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(lane())
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        yield client


async def test_a_form_is_read_and_answered_as_json_that_nobody_keeps(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.post("/token", data={"a": "1 2", "b": "ä", "c": ""})
    assert answer.json() == {"a": "1 2", "b": "ä"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))


async def test_what_is_not_added_belongs_to_fastapi(api: httpx.AsyncClient) -> None:
    assert (await api.get("/slow")).json() == "fastapi"
    assert (await api.put("/both")).json() == "fastapi"
    assert (await api.get("/openapi.json")).status_code == 200
    assert (await api.post("/both", data={"a": "1"})).json() == {"a": "1"}


async def test_another_method_is_405_and_told_which_there_are(api: httpx.AsyncClient) -> None:
    answer = await api.get("/token")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/problem+json"
    assert (await api.delete("/both")).headers["allow"] == "POST, PUT"
    assert (await api.post("/who")).headers["allow"] == "GET, HEAD"


async def test_head_is_get_without_its_body(api: httpx.AsyncClient) -> None:
    answer = await api.head("/kept")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "4"


async def test_an_answer_that_says_how_long_it_may_be_kept_is_believed(
    api: httpx.AsyncClient,
) -> None:
    for _ in range(2):
        answer = await api.get("/kept")
        assert answer.text == "kept"
        assert answer.headers.get_list("cache-control") == ["max-age=300"]


async def test_oauth_endpoints_refuse_in_oauth_json(api: httpx.AsyncClient) -> None:
    answer = await api.post("/refuses")
    assert answer.status_code == 401
    assert answer.json() == {"error": "invalid_client", "error_description": "who are you?"}
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert answer.headers["cache-control"] == "no-store"
    busy = await api.post("/busy")
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "7")


async def test_other_endpoints_refuse_in_problem_documents(api: httpx.AsyncClient) -> None:
    answer = await api.get("/bearer")
    assert answer.status_code == 401
    assert answer.json()["detail"] == "it has expired"
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_an_unexpected_exception_is_a_500_that_says_nothing(api: httpx.AsyncClient) -> None:
    oauth, plain = await api.post("/breaks"), await api.get("/breaks")
    assert (oauth.status_code, oauth.json()["error"]) == (500, "server_error")
    assert (plain.status_code, plain.json()["title"]) == (500, "Something went wrong on our side")
    assert "boom" not in oauth.text + plain.text


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"a=1"),
        ({"content-type": "application/json"}, b"{}"),
        (FORM, b"a=1&a=2"),
        (FORM, b"a=%zz"),
        (FORM, b"\xff"),
    ],
)
async def test_a_bad_form_is_an_invalid_request(
    api: httpx.AsyncClient, headers: dict[str, str], body: bytes
) -> None:
    answer = await api.post("/token", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_two_authorization_headers_are_refused_and_other_lists_are_joined(
    api: httpx.AsyncClient,
) -> None:
    twice = [("authorization", "Bearer a"), ("authorization", "Bearer b")]
    answer = await api.get("/who", headers=twice)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "the header Authorization is repeated"
    listed = [("accept", "a/b"), ("accept", "c/d"), ("authorization", "Bearer a")]
    plain = httpx.Request("GET", "http://x/who?x=1&y=%C3%A4", headers=listed)
    assert (await api.send(plain)).json() == {
        "authorization": "Bearer a",
        "accept": "a/b, c/d",
        "query": {"x": "1", "y": "ä"},
        "address": "127.0.0.1",
    }


async def test_a_body_may_come_in_pieces_up_to_the_limit(api: httpx.AsyncClient) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        yield b"a="
        for _ in range(size // 1024):
            yield b"x" * 1024

    fits = await api.post("/token", content=pieces(BODY_LIMIT - 1024), headers=FORM)
    assert len(fits.json()["a"]) == BODY_LIMIT - 1024
    assert (await api.post("/token", content=pieces(BODY_LIMIT), headers=FORM)).status_code == 413
    whole = await api.post("/token", content=b"a=" + b"x" * BODY_LIMIT, headers=FORM)
    assert whole.status_code == 413


async def test_a_client_that_goes_away_gets_no_answer() -> None:
    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: object) -> None:
        sent.append(message)

    sent: list[object] = []
    messages = iter(
        [
            {"type": "http.request", "body": b"a=", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    scope = {
        "type": "http",
        "path": "/token",
        "method": "POST",
        "headers": [(b"content-type", FORM["content-type"].encode())],
    }
    await lane()(scope, receive, send)  # type: ignore[arg-type]
    assert sent == []


def test_an_address_is_added_once_and_documented() -> None:
    added = lane()
    assert {("POST", "/token"), ("POST", "/breaks"), ("GET", "/breaks")} <= {
        (method, path) for method, path, _ in added.described()
    }
    with pytest.raises(ValueError, match="POST /token is taken"):
        added.add("POST", "/token", added._routes["/token"]["POST"].handler, oauth=True)


def test_a_304_has_no_length() -> None:
    assert dict(Response(304, [], b"").headers) == {b"cache-control": b"no-store"}
