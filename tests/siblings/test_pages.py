"""The Authorize button of all docs pages works, in a browser: type a name and a password, press,
and call an operation that needs a token."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.siblings.chromium import Page
from tests.siblings.conftest import Pair
from tests.world import PASSWORD

Open = Callable[[str], Page]


def one(selector: str) -> str:
    return f"document.querySelector({selector!r})"


def button(words: str) -> str:
    """Of the dialogue's first part, which is for users."""
    found = "[...document.querySelectorAll('.auth-container .auth-btn-wrapper button')]"
    return f"{found}.find(b => b.innerText.trim() === {words!r})"


def authorize(page: Page, password: str) -> None:
    page.press(one("button.authorize"))
    page.type(one("#oauth_username"), "ada")
    page.type(one("#oauth_password"), password)
    page.press(button("Authorize"))


def try_out(page: Page, operation: str) -> str:
    """The status that the page shows for the operation."""
    block = f"#operations-{operation}"
    page.press(one(f"{block} .opblock-summary-control"))
    page.press(one(f"{block} .try-out__btn"))
    page.press(one(f"{block} .execute"))
    status = one(f"{block} .live-responses-table .response .response-col_status")
    return str(page.wait_for(f"{status} && {status}.innerText.trim()")).split()[0]


@pytest.mark.parametrize(
    ("whose", "operation"),
    [
        ("identity", "Self-service-get_me"),
        ("orders", "default-read_users_me_users_me_get"),
        ("example", "default-read_orders_orders_get"),
    ],
)
def test_the_authorize_button_logs_in_and_the_next_call_is_answered(
    page: Open, pair: Pair, tmp_path: Path, whose: str, operation: str
) -> None:
    docs = page(f"{getattr(pair, whose)}/docs")
    authorize(docs, PASSWORD)
    docs.wait_for(f"{button('Logout')} != null")
    docs.picture(tmp_path / "authorized.png")
    docs.press(button("Close"))
    assert try_out(docs, operation) == "200"
    docs.picture(tmp_path / "answered.png")
    assert docs.complaints() == []


def test_our_own_page_offers_one_tick_for_everything_by_either_way(page: Open, pair: Pair) -> None:
    docs = page(f"{pair.identity}/docs")
    docs.press(one("button.authorize"))
    docs.wait_for(f"{one('#oauth_username')} != null")
    boxes = "document.querySelectorAll('.auth-container .scopes input[type=checkbox]')"
    assert docs.run(f"[...{boxes}].map(box => [box.getAttribute('data-value'), box.checked])") == [
        ["*", False],  # username and password
        ["*", False],  # the code
    ]


@pytest.mark.parametrize("whose", ["identity", "orders"])
def test_a_wrong_password_is_said_to_be_wrong(
    page: Open, pair: Pair, tmp_path: Path, whose: str
) -> None:
    docs = page(f"{getattr(pair, whose)}/docs")
    authorize(docs, "not my password")
    said = docs.wait_for(f"({one('.auth-container .errors')} || {{}}).innerText")
    docs.picture(tmp_path / "refused.png")
    assert "password is wrong" in said


def test_redoc_shows_every_operation_without_a_broken_policy(
    page: Open, pair: Pair, tmp_path: Path
) -> None:
    redoc = page(f"{pair.identity}/redoc")
    redoc.wait_for("document.body && document.body.innerText.includes('Who am I?')")
    redoc.picture(tmp_path / "redoc.png")
    # Its makers' logo would tell them who reads our page; the policy keeps it out, and that is all.
    assert [said for said in redoc.complaints() if not about_logo(said)] == []


def about_logo(complaint: str) -> bool:
    return "cdn.redoc.ly/redoc/logo" in complaint or "'blockedReason': 'csp'" in complaint
