"""`identity branding …`"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from identity.directory.clients.table import Client
from identity.store import Database
from tests.pictures import png

Identity = Callable[..., Any]


def shown(identity: Identity) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(identity("branding", "show", "--json").out)
    return found


def test_an_operator_sets_name_colours_and_logos(
    identity: Identity, db: Database, tmp_path: Path
) -> None:
    assert shown(identity)["name"] == "Identity"
    done = identity("branding", "set", "--name", "Lighthouse", "--accent", "#0B6B4F")
    assert done.code == 0
    assert (shown(identity)["name"], shown(identity)["accent"]) == ("Lighthouse", "#0b6b4f")
    assert shown(identity)["contrast"] >= 4.5
    file = tmp_path / "logo.png"
    file.write_bytes(png(400, 100))
    assert (
        "384 × 96"
        in identity("branding", "logo", str(file)).out + identity("branding", "logo", str(file)).err
    )
    assert shown(identity)["logo"] == "384 × 96"
    with db.transaction() as session:
        session.add(Client(id="shop", name="The Shop"))
    assert identity("branding", "logo", str(file), "--client", "The Shop").code == 0
    assert identity("branding", "remove-logo", "--client", "shop", "--yes").code == 0
    assert identity("branding", "remove-logo", "--client", "shop", "--yes").code == 1
    assert identity("branding", "remove-logo").code == 2, "nobody to ask"
    assert identity("branding", "remove-logo", "--yes").code == 0
    assert identity("branding", "set", "--name", "", "--accent", "").code == 0
    assert shown(identity)["name"] == "Identity"


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_mistake_gets_one_line(identity: Identity, tmp_path: Path) -> None:
    refused = identity("branding", "set", "--accent", "#ffcc00")
    assert refused.code == 1 and refused.err.count("\n") == 1
    assert "4.5:1" in refused.err and "would do" in refused.err
    assert identity("branding", "set").code == 2
    assert identity("branding", "logo", str(tmp_path / "none.png")).code == 1
    file = tmp_path / "logo.svg"
    file.write_text("<svg/>")
    refused = identity("branding", "logo", str(file))
    assert refused.code == 1 and "PNG, JPEG or WebP" in refused.err
    huge = tmp_path / "huge.png"
    huge.write_bytes(png() + bytes(10_000_000))
    assert "60 KiB" in identity("branding", "logo", str(huge)).err
