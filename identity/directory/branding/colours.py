"""Colours that a brand may bring, and whether people can read what is written in them.

The pages have two schemes, each with colours of its own that a brand does not change
(`static/style.css`; a test holds both against each other). What is asked for is WCAG 2.2, level AA
(1.4.3): a contrast of 4.5 to 1.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

ENOUGH: Final = 4.5
MARKED: Final = 0.08
"""How much of the accent is in the ground of what is marked: an entry of a navigation."""
COLOUR: Final = r"#[0-9a-fA-F]{6}"
_COLOUR = re.compile(COLOUR)
_STEPS = 50

Rgb = tuple[float, float, float]
"""Each of 0 to 1."""


class Scheme(NamedTuple):
    name: str
    accent: str
    page: str
    surface: str
    text: str
    muted: str
    danger: str
    towards: str
    """Where an accent goes that has too little contrast."""


LIGHT: Final = Scheme(
    "light", "#2f5fd0", "#eef1f6", "#ffffff", "#1b2230", "#566074", "#a3161f", "#000000"
)
DARK: Final = Scheme(
    "dark", "#8fb0ff", "#10141c", "#1a202c", "#e8ecf4", "#a5afc2", "#ffb3b3", "#ffffff"
)
FIELDS: Final = ("accent", "accent_dark", "background", "background_dark")


class Colours(NamedTuple):
    """As they are shown in one scheme."""

    scheme: Scheme
    accent: str
    on_accent: str
    page: str


class Pair(NamedTuple):
    """What is written on what, and how well it can be read."""

    field: str
    """The one of `FIELDS` that is to blame for it."""
    scheme: str
    what: str
    on: str
    contrast: float

    @property
    def is_enough(self) -> bool:
        return self.contrast >= ENOUGH


def problem(text: str) -> str | None:
    return None if _COLOUR.fullmatch(text) else "must be a colour such as #2f5fd0"


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, "contrast ratio": 1 to 21."""
    dark, light = sorted((_luminance(_rgb(one)), _luminance(_rgb(other))))
    return (light + 0.05) / (dark + 0.05)


def mixed(one: str, other: str, share: float) -> str:
    """So much of `one` in `other`, as `color-mix(in srgb, …)` and transparent layers do it."""
    parts = zip(_rgb(one), _rgb(other), strict=True)
    return "#" + "".join(f"{round(255 * (a * share + b * (1 - share))):02x}" for a, b in parts)


def shown(chosen: Mapping[str, str | None]) -> tuple[Colours, Colours]:
    """In the light and in the dark scheme. `chosen`: by `FIELDS`, each valid or None."""
    light = _colours(LIGHT, chosen.get("accent"), chosen.get("background"))
    accent, page = chosen.get("accent_dark"), chosen.get("background_dark")
    if accent is None and chosen.get("accent") is not None:
        accent = nearest(DARK, str(chosen["accent"]), page or DARK.page)
    return light, _colours(DARK, accent, page)


def _colours(scheme: Scheme, accent: str | None, page: str | None) -> Colours:
    accent = accent or scheme.accent
    usual = "#ffffff" if scheme is LIGHT else "#0d1526"
    readable = [each for each in (usual, "#ffffff", "#000000") if contrast(each, accent) >= ENOUGH]
    return Colours(scheme, accent, readable[0], page or scheme.page)


def nearest(scheme: Scheme, accent: str, page: str) -> str:
    """The accent itself or, where it cannot be read in this scheme, what comes next to it."""
    steps = [mixed(scheme.towards, accent, step / _STEPS) for step in range(_STEPS + 1)]
    found = (each for each in steps if _least(scheme, each, page) >= ENOUGH)
    return next(found, steps[-1])


def _least(scheme: Scheme, accent: str, page: str) -> float:
    return min(contrast(accent, ground) for ground in _grounds(scheme, accent, page).values())


def _grounds(scheme: Scheme, accent: str, page: str) -> dict[str, str]:
    return {
        "surface": scheme.surface,
        "background": page,
        "marked": mixed(accent, page, MARKED),
    }


def pairs(chosen: Mapping[str, str | None]) -> list[Pair]:
    """All that a brand can spoil."""
    found = []
    for colours, suffix in zip(shown(chosen), ("", "_dark"), strict=True):
        scheme, accent, background = colours.scheme, f"accent{suffix}", f"background{suffix}"
        to_blame = accent if chosen.get(accent) else background
        for on, ground in _grounds(scheme, colours.accent, colours.page).items():
            found.append(
                Pair(to_blame, scheme.name, "accent", on, contrast(colours.accent, ground))
            )
        on_accent = contrast(colours.on_accent, colours.accent)
        found.append(Pair(accent, scheme.name, "on accent", "accent", on_accent))
        for what in ("text", "muted", "danger"):
            measured = contrast(getattr(scheme, what), colours.page)
            found.append(Pair(background, scheme.name, what, "background", measured))
    return found


def problems(chosen: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """(pointer, words) of each field that makes something hard to read."""
    wrong: dict[str, Pair] = {}
    for pair in pairs(chosen):
        if not pair.is_enough:
            before = wrong.get(pair.field)
            wrong[pair.field] = pair if before is None else min(before, pair, key=_by_contrast)
    return [(f"/{field}", _words(pair, chosen)) for field, pair in wrong.items()]


def _by_contrast(pair: Pair) -> float:
    return pair.contrast


def _words(pair: Pair, chosen: Mapping[str, str | None]) -> str:
    # Rounded down: what is refused never says 4.5.
    measured = int(pair.contrast * 100) / 100
    words = (
        f"in the {pair.scheme} scheme the contrast of {pair.what} and {pair.on} is {measured}:1, "
        f"and has to be {ENOUGH}:1"
    )
    if not pair.field.startswith("accent"):
        return words
    scheme, page = (LIGHT, "background") if pair.scheme == "light" else (DARK, "background_dark")
    ground = chosen.get(page) or scheme.page
    near = nearest(scheme, str(chosen[pair.field]), ground)
    return f"{words}; {near} would do" if _least(scheme, near, ground) >= ENOUGH else words


def sheet(chosen: Mapping[str, str | None]) -> str:
    """The custom properties that differ from `static/style.css`; empty where none does."""
    light, dark = shown(chosen)
    said = []
    if chosen.get("accent") or chosen.get("accent_dark"):
        said += [("accent", light.accent, dark.accent)]
        said += [("on-accent", light.on_accent, dark.on_accent)]
    if chosen.get("background") or chosen.get("background_dark"):
        said += [("page", light.page, dark.page)]
    lines = [f"  --{name}: light-dark({one}, {other});" for name, one, other in said]
    return "\n".join([":root {", *lines, "}", ""]) if lines else ""


def _rgb(colour: str) -> Rgb:
    red, green, blue = (int(colour[at:to], 16) / 255 for at, to in pairwise(range(1, 8, 2)))
    return red, green, blue


def _luminance(rgb: Rgb) -> float:
    """WCAG 2.2, "relative luminance"."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
