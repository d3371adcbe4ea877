"""A sibling's users log in through our /token, from its pages, and call it: over real HTTP."""

from collections.abc import Iterator

import httpx
import pytest

from tests.siblings.conftest import Pair
from tests.world import PASSWORD, bearer

FORM = {"username": "ada", "password": PASSWORD, "grant_type": "password"}


@pytest.fixture
def browser(pair: Pair) -> Iterator[httpx.Client]:
    """What a page of the sibling sends: its origin with every request."""
    with httpx.Client(headers={"origin": pair.orders}, trust_env=False) as client:
        yield client


def log_in(browser: httpx.Client, pair: Pair) -> str:
    answer = browser.post(f"{pair.identity}/token", data=FORM)
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] == pair.orders
    return str(answer.json()["access_token"])


def test_the_sibling_sends_its_users_to_our_token_address(
    browser: httpx.Client, pair: Pair
) -> None:
    document = browser.get(f"{pair.orders}/openapi.json").json()
    flow = document["components"]["securitySchemes"]["OAuth2PasswordBearer"]["flows"]["password"]
    assert flow["tokenUrl"] == f"{pair.identity}/token"


def test_a_page_of_the_sibling_may_ask_for_tokens(browser: httpx.Client, pair: Pair) -> None:
    # Swagger UI sends X-Requested-With, and with client fields filled in an Authorization.
    answer = browser.options(
        f"{pair.identity}/token",
        headers={
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type,x-requested-with",
        },
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["access-control-allow-origin"] in (pair.orders, "*")
    assert "POST" in answer.headers["access-control-allow-methods"]
    allowed = answer.headers["access-control-allow-headers"].lower()
    assert {"authorization", "content-type", "x-requested-with"} <= set(allowed.split(", "))


def test_a_page_of_somebody_else_may_not(browser: httpx.Client, pair: Pair) -> None:
    elsewhere = {"origin": "http://evil.test"}
    answer = browser.post(f"{pair.identity}/token", data=FORM, headers=elsewhere)
    assert "access-control-allow-origin" not in answer.headers
    asked = elsewhere | {"access-control-request-method": "POST"}
    answer = browser.options(f"{pair.identity}/users", headers=asked)
    assert answer.status_code == 400
    assert "access-control-allow-origin" not in answer.headers


def test_the_token_is_good_at_the_sibling_by_our_published_keys(
    browser: httpx.Client, pair: Pair
) -> None:
    token = log_in(browser, pair)
    answer = browser.get(f"{pair.orders}/users/me", headers=bearer(token))
    assert (answer.status_code, answer.json()) == (200, {"username": "ada", "roles": ["clerk"]})


def test_the_sibling_refuses_who_brings_no_token_or_a_changed_one(
    browser: httpx.Client, pair: Pair
) -> None:
    header, payload, signature = log_in(browser, pair).split(".")
    changed = ".".join((header, payload, signature[::-1]))
    for path in ("/users/me", "/orders"):
        assert browser.get(f"{pair.orders}{path}").status_code == 401
        answer = browser.get(f"{pair.orders}{path}", headers=bearer(changed))
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_token_is_refused_at_once_where_the_sibling_introspects(
    browser: httpx.Client, pair: Pair
) -> None:
    token = log_in(browser, pair)
    answer = browser.get(f"{pair.orders}/orders", headers=bearer(token))
    assert (answer.status_code, answer.json()) == (200, ["an order of ada"])
    assert browser.post(f"{pair.identity}/revoke", data={"token": token}).status_code == 200
    assert browser.get(f"{pair.orders}/orders", headers=bearer(token)).status_code == 401
