"""Why a redirect URI does not fit: which of the registered ones comes nearest, and where the two
differ. Whether it fits is for `uris.is_registered` to say, as at `/authorize`."""

from collections.abc import Collection
from difflib import SequenceMatcher
from typing import NamedTuple
from urllib.parse import urlsplit

from identity.directory import uris
from identity.pages.words import _


class Verdict(NamedTuple):
    fits: bool
    words: str
    nearest: str = ""
    differences: tuple[str, ...] = ()


def judged(asked: str, registered: Collection[str], own_page: str | None = None) -> Verdict:
    """`own_page`: of ours, where its codes may go besides."""
    if asked == own_page:
        return Verdict(True, _("It fits: it is a page of this service, which takes its codes."))
    if uris.is_registered(asked, registered):
        if asked in registered:
            return Verdict(True, _("It fits: this very address is registered."))
        words = _("It fits: of a loopback address the port may be another (RFC 8252 §7.3).")
        return Verdict(True, words)
    problem = uris.redirect_problem(asked)
    if not registered:
        return Verdict(False, _("The client has no redirect URI at all."))
    nearest = max(registered, key=lambda each: SequenceMatcher(None, asked, each).ratio())
    words = _("It does not fit: a redirect URI is compared character by character.")
    if problem:
        words = _("It could not even be registered: it %s.") % problem
    return Verdict(False, words, nearest, tuple(_differences(asked, nearest)))


def _differences(asked: str, registered: str) -> list[str]:
    here, there = urlsplit(asked), urlsplit(registered)
    found = [
        _("%(what)s is “%(asked)s”, and “%(registered)s” is registered.")
        % {"what": what, "asked": mine or "–", "registered": theirs or "–"}
        for what, mine, theirs in (
            (_("The scheme"), here.scheme, there.scheme),
            (_("The host"), here.netloc, there.netloc),
            (_("The path"), here.path, there.path),
            (_("The query"), here.query, there.query),
            (_("The fragment"), here.fragment, there.fragment),
        )
        if mine != theirs
    ]
    if asked != registered and asked.rstrip("/") == registered.rstrip("/"):
        found.append(_("Only the slash at the end tells them apart."))
    elif asked.lower() == registered.lower():
        found.append(_("Only capital letters tell them apart."))
    if {here.hostname, there.hostname} == {"localhost", "127.0.0.1"}:
        found.append(_("localhost and 127.0.0.1 are two hosts; only the second may change port."))
    if asked != asked.strip():
        found.append(_("There is space around it."))
    return found
