"""Nobody reads a password over a shoulder, and password managers are welcome."""

import re

import pytest

from tests.databases import ROOT

TEMPLATES = ROOT / "identity" / "pages" / "templates"
FIELDS = [
    pytest.param(found[0], id=f"{path.relative_to(TEMPLATES)}-{number}")
    for path in sorted(TEMPLATES.rglob("*.html"))
    for number, found in enumerate(
        re.finditer(r'<input[^>]*name="[a-z_]*password"[^>]*>|field\("(new_password|repeated)".*',
                    path.read_text())
    )
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_a_password_is_masked_and_named_for_password_managers(field: str) -> None:
    assert re.search(r'type="?password', field), field
    assert re.search(r'autocomplete="(current|new)-password"', field), field


def test_every_page_that_asks_for_one_was_looked_at() -> None:
    assert len(FIELDS) >= 5


def test_no_page_keeps_anybody_from_pasting() -> None:
    for path in TEMPLATES.rglob("*.html"):
        text = path.read_text().lower()
        assert "onpaste" not in text and 'autocomplete="off"' not in _about_passwords(text), path


def _about_passwords(text: str) -> str:
    return "".join(re.findall(r"<input[^>]*password[^>]*>", text))
