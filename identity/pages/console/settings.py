"""`/console/settings`: what is set, where that was said, and whether all is well. Read-only: they
are the operator's, and the same for every replica."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from typing import Any, NamedTuple

from dotenv import dotenv_values
from pydantic import SecretStr
from sqlmodel import Session

from identity import __version__
from identity.http.messages import Response
from identity.pages.console.desk import Desk, Query, Seat
from identity.pages.console.findings import shown
from identity.pages.console.screens import screen as own
from identity.pages.registry import House
from identity.pages.words import _, said
from identity.service.warnings import warnings
from identity.settings import Settings, described
from identity.store.paging import listed

HIDDEN = "••••••"


class Setting(NamedTuple):
    name: str
    group: str
    value: str
    source: str
    meaning: str
    """In the language of this request."""


class SettingsScreen(Desk):
    screen = own("settings")

    async def show(self, seat: Seat, query: Query) -> Response:
        settings = self.services.settings

        def unit(session: Session) -> list[Any]:
            return list(warnings(session, settings, all_of_them=True))

        findings = await listed(self.services.db, unit)
        rows = list(_settings(settings))
        q = query.get("q", "").strip().casefold()
        rows = [row for row in rows if q in f"{row.name} {row.meaning}".casefold()]
        groups = [(group, list(each)) for group, each in groupby(rows, key=lambda row: row.group)]
        return self.page(
            seat, "settings", title=_("Settings"), groups=groups, q=q,
            findings=[shown(each) for each in findings],
            version_of=__version__, database=self.services.db.address,
        )  # fmt: skip


def _settings(settings: Settings) -> Iterator[Setting]:
    set_, defaults = {name.upper(): _("environment") for name in os.environ}, Settings.of()
    with suppress(OSError, ValueError):  # the service has read it at its start
        set_ = {name.upper(): ".env" for name in dotenv_values(".env")} | set_
    for name, group, field in described():
        value = getattr(getattr(settings, group), name.removeprefix("IDENTITY_").lower())
        if name in set_:
            source = set_[name]
        else:
            usual = getattr(getattr(defaults, group), name.removeprefix("IDENTITY_").lower())
            source = _("default") if value == usual else _("command line")
        meaning = said(field.description or "")
        yield Setting(name, _(group), _shown(value), source, meaning)


def _shown(value: Any) -> str:
    """Never a secret."""
    if isinstance(value, SecretStr):
        return HIDDEN
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, list | tuple | set | frozenset):
        return (
            " ".join(HIDDEN if isinstance(each, SecretStr) else str(each) for each in value) or "–"
        )
    if isinstance(value, dict):
        return " ".join(f"{key}={each}" for key, each in value.items()) or "–"
    return "–" if value in (None, "") else str(value)


async def page(house: House) -> SettingsScreen:
    return SettingsScreen(house, await house.rendering())
