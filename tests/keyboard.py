"""Somebody at a real browser: who types looks first where the focus is, and waits by looking."""

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


def until(page: Any, question: str) -> None:
    """Ask the page until its answer is true, for as long as a slow machine may take.

    Playwright's own `wait_for_function` asks the first time as a debugger may, and from then on as
    the page itself, whose policy refuses evaluated words: it fails whenever the first answer is no.
    """
    for _ in range(600):
        if page.evaluate(question):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {question}")
