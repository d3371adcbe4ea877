"""Icons, drawn into the page itself: `icons/` has those of Lucide as they come, with their version
and licence (`icons/vendored.json`, which a test holds them to).

They are decoration. What they stand beside says all of it in words, and nobody is read them aloud.
"""

import re
from functools import cache
from pathlib import Path
from typing import Final

from markupsafe import Markup

FOLDER: Final = Path(__file__).parent / "icons"
_DRAWING = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
OF_SCREENS: Final = {
    "dashboard": "layout-dashboard",
    "users": "users",
    "users-import": "upload",
    "user-why": "circle-question-mark",
    "clients": "app-window",
    "issuers": "handshake",
    "roles": "shield-check",
    "scopes": "tags",
    "keys": "key-round",
    "sessions": "monitor-smartphone",
    "blocks": "ban",
    "mails": "mail",
    "lockdown": "lock-keyhole",
    "audit": "scroll-text",
    "branding": "palette",
    "settings": "settings",
}
"""By the last part of their address; the others have a plain one."""


@cache
def icon(name: str) -> Markup:
    """Whoever asks names it in a template or above: no name comes from outside."""
    found = _DRAWING.search((FOLDER / f"{name}.svg").read_text("utf-8"))
    assert found is not None, name
    inside = "".join(line.strip() for line in found[1].splitlines())
    opening = '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
    return Markup(f"{opening}{inside}</svg>")  # noqa: S704 - files of ours, not of anybody's


def icon_of_screen(path: str) -> Markup:
    name = path.rpartition("/")[2]
    return icon(OF_SCREENS.get("dashboard" if name == "console" else name, "circle"))
