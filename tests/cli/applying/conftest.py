"""Files, and what `identity apply` makes of them."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.cli.conftest import environ as environ
from tests.cli.conftest import identity as identity

Identity = Callable[..., Any]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """`write("roles: {}", "other.yaml")`"""

    def file(text: str, name: str = "shop.yaml") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text))
        return path

    return file


@pytest.fixture
def apply(identity: Identity, write: Callable[..., Path]) -> Callable[..., Any]:
    """`apply("roles: {clerk: {}}", "--prune")`, without being asked."""

    def done(text: str, *options: str) -> Any:
        return identity("apply", str(write(text)), "--yes", *options)

    return done
