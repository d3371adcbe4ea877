"""Whether people can read what a brand makes of the pages."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.directory.branding import colours
from identity.pages.static import FOLDER

STYLE = (FOLDER / "style.css").read_text()
hexes = st.integers(0, 0xFFFFFF).map(lambda n: f"#{n:06x}")


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        ("#000000", "#ffffff", 21.0),
        ("#ffffff", "#ffffff", 1.0),
        ("#767676", "#ffffff", 4.54),  # the lightest grey that WebAIM's checker passes on white
        ("#777777", "#ffffff", 4.47),
        ("#ff0000", "#ffffff", 3.99),
        ("#0000ff", "#ffffff", 8.59),
    ],
)
def test_contrasts_are_those_of_wcag(one: str, other: str, ratio: float) -> None:
    assert int(colours.contrast(one, other) * 100) / 100 == ratio
    assert colours.contrast(one, other) == colours.contrast(other, one)


@pytest.mark.parametrize("scheme", [colours.LIGHT, colours.DARK])
def test_what_is_compared_with_is_what_the_pages_have(scheme: colours.Scheme) -> None:
    root = STYLE[: STYLE.index("}")]
    pairs = dict(re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\)", root))
    at = 0 if scheme is colours.LIGHT else 1
    for name in ("accent", "page", "surface", "text", "muted", "danger"):
        assert pairs[name].split(", ")[at] == getattr(scheme, name), name
    marked = re.search(
        r"\.console nav \[aria-current\] \{[^}]*var\(--accent\) (\d+)%, transparent", STYLE
    )
    assert marked and int(marked[1]) / 100 == colours.MARKED


def test_the_pages_as_they_come_can_be_read() -> None:
    assert colours.problems({}) == []
    assert len(colours.pairs({})) == 14


@given(accent=hexes, dark=hexes | st.none(), background=hexes | st.none())
def test_whatever_is_let_through_can_be_read(
    accent: str, dark: str | None, background: str | None
) -> None:
    chosen = {"accent": accent, "accent_dark": dark, "background": background}
    problems = colours.problems(chosen)
    bad = {pair.field for pair in colours.pairs(chosen) if pair.contrast < 4.5}
    assert {where.removeprefix("/") for where, _ in problems} == bad
    sheet = colours.sheet(chosen)
    assert re.fullmatch(
        r":root \{\n(  --[a-z-]+: light-dark\(#[0-9a-f]{6}, #[0-9a-f]{6}\);\n)+\}\n", sheet
    )


@given(accent=hexes)
def test_what_is_refused_names_a_colour_that_would_do(accent: str) -> None:
    problems = colours.problems({"accent": accent})
    assert {where for where, _ in problems} <= {"/accent"}, "the dark one is made from it"
    for _, words in problems:
        named = re.search(r"(#[0-9a-f]{6}) would do", words)
        assert named and colours.problems({"accent": named[1]}) == []


@pytest.mark.parametrize("text", ["red", "#fff", "#2f5fd", "#2f5fd00", "#2f5fdg", "#2f5fd0;}", ""])
def test_only_six_digits_are_a_colour(text: str) -> None:
    assert colours.problem(text)
