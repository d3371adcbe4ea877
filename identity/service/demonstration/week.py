"""What happened in a week: events as the service itself would have recorded them.

Each bears the request id `DEMONSTRATION`. They are part of the audit like all others, chained and
never taken out again: an audit from which something can be taken away would be none.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, NamedTuple

from identity.service.demonstration.people import PersonOfDemo
from identity.service.demonstration.scene import APPLICATIONS

DEMONSTRATION: Final = "demonstration"
DAYS: Final = 7
HOURS: Final = (1, 1, 1, 1, 1, 2, 6, 14, 22, 24, 22, 18, 12, 18, 20, 18, 15, 11, 7, 6, 5, 4, 2, 1)
"""How much of a day happens in each of its hours."""
GUESSER: Final = "203.0.113.66"
GUESSED: Final = ("root", "test", "postgres", "oracle", "guest", "info", "backup", "webmaster")


class Who(NamedTuple):
    id: str
    person: PersonOfDemo


def events(dice: Random, now: datetime, users: Sequence[Who]) -> list[dict[str, Any]]:
    """Oldest first; none later than `now`."""
    found = [
        *_logins(dice, now, users), *_programs(dice, now), *_guesses(dice, now),
        *_changes(dice, now, users),
    ]  # fmt: skip
    return sorted((each for each in found if each["at"] <= now), key=lambda each: each["at"])


def _event(at: datetime, name: str, *, refused: bool = False, **said: Any) -> dict[str, Any]:
    members: dict[str, Any] = {
        "outcome": "refused" if refused else "success", "actor_type": "anonymous", "actor": None,
        "subject": None, "client_id": None, "address": None, "detail": {},
    }  # fmt: skip
    return {"at": at, "event": name, "request_id": DEMONSTRATION, **members, **said}


def _by(who: Who) -> dict[str, Any]:
    return {
        "actor_type": "user", "actor": who.id, "subject": who.id, "address": who.person.address,
    }  # fmt: skip


def _moments(dice: Random, now: datetime, a_day: float) -> Iterator[datetime]:
    """In the week before `now`, by day rather than by night, and less at weekends."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(DAYS, -1, -1):
        day = midnight - timedelta(days=back)
        mean = a_day * (0.3 if day.weekday() >= 5 else 1)
        for _ in range(int(mean) + (dice.random() < mean % 1)):
            hour = dice.choices(range(24), HOURS)[0]
            at = day + timedelta(hours=hour, seconds=dice.uniform(0, 3600))
            if now - timedelta(days=DAYS) <= at <= now:
                yield at


def _logins(dice: Random, now: datetime, users: Sequence[Who]) -> Iterator[dict[str, Any]]:
    visited = [each for each in APPLICATIONS if each.weight]
    for who in users:
        often = {"busy": 1.4, "seldom": 0.3}.get(who.person.life)
        if often is None:
            continue
        for at in _moments(dice, now, often):
            application = dice.choices(visited, [each.weight for each in visited])[0]
            at_client = {**_by(who), "client_id": application.id}
            if dice.random() < 0.07:  # a slip of the fingers first
                yield _event(
                    at - timedelta(seconds=dice.uniform(8, 40)), "login", refused=True,
                    subject=who.id, address=who.person.address, client_id=application.id,
                    detail={"why": "wrong code" if who.person.app else "wrong password"},
                )  # fmt: skip
            acr = "aal2" if who.person.app else "aal1"
            yield _event(at, "login", **at_client, detail={"by": "browser", "acr": acr})
            scope = " ".join(application.scopes[:3])
            for number, grant in enumerate(("authorization_code", "refresh_token")):
                later = at + timedelta(seconds=2 + number * dice.uniform(600, 3000))
                detail = {"grant": grant, "scope": scope}
                yield _event(later, "token.issued", **at_client, detail=detail)


def _programs(dice: Random, now: datetime) -> Iterator[dict[str, Any]]:
    for application in APPLICATIONS:
        if not application.weight:
            detail = {"grant": "client_credentials", "scope": " ".join(application.scopes)}
            for at in _moments(dice, now, 40):
                yield _event(
                    at, "token.issued", actor_type="client", actor=application.id,
                    client_id=application.id, address="192.0.2.10", detail=detail,
                )  # fmt: skip


def _guesses(dice: Random, now: datetime) -> Iterator[dict[str, Any]]:
    """Somebody tries names that are nobody's, one night."""
    night = (now - timedelta(days=2)).replace(hour=2, minute=20, second=0, microsecond=0)
    for number in range(60):
        yield _event(
            night + timedelta(seconds=number * dice.uniform(9, 12)), "login", refused=True,
            address=GUESSER, client_id="first-party",
            detail={"why": "unknown user", "login": dice.choice(GUESSED)},
        )  # fmt: skip


def _changes(dice: Random, now: datetime, users: Sequence[Who]) -> Iterator[dict[str, Any]]:
    support = [each for each in users if "demo-support" in each.person.roles] or list(users)
    for who in users:
        at = next(_moments(dice, now, 1), now - timedelta(days=1))
        helper = dice.choice(support)
        helped = {**_by(helper), "subject": who.id}
        if who.person.life == "disabled":
            yield _event(at, "user.disabled", **helped)
        elif who.person.app and dice.random() < 0.3:
            detail = {"kind": "totp", "replaces": False}
            yield _event(at, "factor.added", **_by(who), detail=detail)
            yield _event(at, "recovery_codes.made", **_by(who), detail={"count": 10})
        elif who.person.life == "busy" and dice.random() < 0.1:
            yield _event(at, "user.password_changed", **_by(who))
        elif who.person.life == "busy" and dice.random() < 0.08:
            yield _event(at, "user.updated", **_by(who), detail={"changed": ["phone_number"]})
