"""Somebody whose browser asks for what there is not gets a page; a program gets a problem."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.http.accepting import prefers_page
from tests.browsing import Browser, Page

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
UNKNOWN = ("/nowhere", "/console/nowhere", "/users/a/b/c", "/users%2Fme", "/static-offline-docs/x")
PROGRAMS = (
    None, "*/*", "application/json", "application/problem+json, text/html", "image/*",
    "application/json, text/html;q=0.5, */*;q=0.1", "text/html;q=0", "text/html;q=x",
)  # fmt: skip


async def asked(api: httpx.AsyncClient, path: str, accept: str | None) -> httpx.Response:
    request = api.build_request("GET", path)
    del request.headers["accept"]
    if accept is not None:
        request.headers["accept"] = accept
    return await api.send(request)


async def test_a_browser_is_told_on_a_page_that_there_is_none(api: httpx.AsyncClient) -> None:
    for path in UNKNOWN:
        answer = await asked(api, path, BROWSER)
        page = Page(answer)
        assert (page.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert page.title.startswith("Not found") and "no page at this address" in page.text
        assert answer.headers["x-request-id"] in page.text and 'href="/sign-in"' in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "style-src 'self'" in answer.headers["content-security-policy"]
        assert len(answer.headers.get_list("content-length")) == 1


async def test_in_the_language_of_whoever_asks(api: httpx.AsyncClient) -> None:
    german = {"accept": BROWSER, "accept-language": "de"}
    answer = await api.get("/nirgends", headers=german)
    assert '<html lang="de"' in answer.text and "keine Seite" in answer.text
    assert "<script>" not in (await api.get("/<script>x", headers=german)).text


async def test_an_address_of_programs_says_so_and_what_it_takes(api: httpx.AsyncClient) -> None:
    for path in ("/token", "/users/a/password-resets", "/introspect"):
        answer = await asked(api, path, BROWSER)
        as_ever = await asked(api, path, None)
        if as_ever.status_code != 405:
            continue
        assert answer.status_code == 405 and "not for browsers" in Page(answer).text
        assert answer.headers["allow"] == as_ever.headers["allow"]
    assert (await asked(api, "/token", BROWSER)).status_code == 405


async def test_programs_are_told_what_they_were_told(api: httpx.AsyncClient) -> None:
    for path in (*UNKNOWN, "/token"):
        for accept in PROGRAMS:
            answer = await asked(api, path, accept)
            assert answer.headers["content-type"] == "application/problem+json", (path, accept)
            assert answer.status_code == (405 if path == "/token" else 404)
            assert answer.json()["title"] in ("Not found", "Method not allowed")
    # What the API has no such thing of is no unknown address.
    answer = await asked(api, "/users/nobody", BROWSER)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_nothing_of_a_page_is_sent_for_its_head(api: httpx.AsyncClient) -> None:
    answer = await api.head("/nowhere", headers={"accept": BROWSER})
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html")


async def test_the_way_out_leads_to_a_page(api: httpx.AsyncClient) -> None:
    browser = Browser(api)
    page = await browser.get("/nowhere", headers={"accept": BROWSER})
    assert page.status == 404
    assert (await browser.get("/sign-in")).status == 200


@given(accept=st.none() | st.binary(max_size=60) | st.from_regex(rb"(text/html;q=[0-9.]{1,4},?)+"))
def test_whatever_is_accepted_has_an_answer(dialect: str, accept: bytes | None) -> None:
    assert prefers_page(accept) in (True, False)
    if accept is not None:
        assert not prefers_page(b"application/json," + accept.lower().replace(b"html", b""))
