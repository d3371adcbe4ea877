"""Refusals that cost nothing to ask for, kept from filling the disk.

Whoever is nobody can be refused thousands of times a second. Of a minute, each address gets
`EACH` rows for each kind of refusal; the others are one row, with how many they were. What is
known of whom it is about is part of the kind, so that no account and no client loses anything but
the request ids. Pure: the time is given.
"""

from typing import Any, NamedTuple

Event = dict[str, Any]

EACH = 10
"""Rows of a minute."""
MINUTE = 60
MOST = 1_000
"""Kinds and addresses told apart in a minute; those beyond are counted together."""


class Whom(NamedTuple):
    """From where, and about which user or client that exists."""

    address: str | None
    subject: str | None
    client_id: str | None


class Refusals:
    def __init__(self) -> None:
        self._minute = 0
        self._seen: dict[tuple[Any, ...], int] = {}
        self._counted: dict[tuple[Any, ...], Event] = {}

    def is_to_be_written(self, event: Event, whom: Whom, same: Event) -> bool:
        """Whether `event` gets a row of its own; else it is counted. `same`: what all of its kind
        have in their detail."""
        each = EACH
        key = (event["event"], whom, *same.items())
        if key not in self._seen and len(self._seen) >= MOST:
            whom, each = whom._replace(address=None), 0
            key = (event["event"], whom, *same.items())
        self._seen[key] = seen = self._seen.get(key, 0) + 1
        if seen <= each:
            return True
        if key not in self._counted:
            detail = {**same, "count": 0, "since": event["at"].isoformat(timespec="seconds")}
            self._counted[key] = {**event, **whom._asdict(), "request_id": None, "detail": detail}
        self._counted[key]["at"] = event["at"]
        self._counted[key]["detail"]["count"] += 1
        return False

    def ended(self, now: float, *, all_of_them: bool = False) -> list[Event]:
        """Rows for what was counted, once the minute is over; `all_of_them`: before."""
        minute = int(now // MINUTE)
        if minute == self._minute and not all_of_them:
            return []
        self._minute = minute
        rows = list(self._counted.values())
        self._counted.clear()
        self._seen.clear()
        return rows
