"""A keyboard at a real browser: whoever types looks first where the focus is."""

from typing import Any


def enter(page: Any, field: str, *texts: str) -> None:
    """Type each text into a field, from `field` on by Tab, and press Enter.

    The browser moves the focus to where a page asks for it (`autofocus`) once it draws the page,
    which on a busy machine is after the page has come: what was typed before would be lost.
    """
    page.wait_for_selector(f"{field}:focus")
    for number, text in enumerate(texts):
        if number:
            page.keyboard.press("Tab")
        page.keyboard.type(text)
    page.keyboard.press("Enter")
