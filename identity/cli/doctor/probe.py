"""Asking the service itself, as those who rely on it do."""

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from identity.service.findings import Finding, Findings
from identity.settings import Settings, loopback

PATIENCE = 3.0


def ask(served: list[Settings]) -> Findings:
    """Whether somebody answers under the issuer's address, and says that it is this issuer.

    `served`: the settings under each address that the service may have; the first that answers
    as it should is it, and where none does, the newest is told of.
    """
    first: Finding | None = None
    for settings in served:
        found = _ask(settings.issuer)
        if found.level == "ok":
            yield found
            return
        first = first or found
    assert first is not None
    yield first


def _ask(issuer: str) -> Finding:
    try:
        document = _get(_metadata(issuer))
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        return Finding(
            "note", "service", f"does not answer at {issuer} ({str(why)[:200]})",
            "start it; if it runs, IDENTITY_ISSUER must be the address under which others reach it",
        )  # fmt: skip
    named = document.get("issuer") if isinstance(document, dict) else None
    if named != issuer:
        return Finding(
            "problem", "service", f"who answers at {issuer} is {str(named)[:100]!a}",
            "set the same IDENTITY_ISSUER for the service and for this command",
        )  # fmt: skip
    local = ", which only this machine can reach" if loopback(issuer) else ""
    return Finding("ok", "service", f"answers at {issuer}{local}")


def _metadata(issuer: str) -> str:
    """RFC 8414 §3.1: the well-known part comes between host and path."""
    parts = urlsplit(issuer)
    path = f"/.well-known/oauth-authorization-server{parts.path.rstrip('/')}"
    return f"{parts.scheme}://{parts.netloc}{path}"


def _get(url: str) -> Any:
    proxies = urllib.request.ProxyHandler({}) if loopback(url) else urllib.request.ProxyHandler()
    with urllib.request.build_opener(proxies).open(url, timeout=PATIENCE) as answer:
        return json.loads(answer.read(65536))
