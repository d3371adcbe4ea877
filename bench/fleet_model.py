"""What a fleet needs, from what one request costs: plain arithmetic, no measuring.

Everything is linear but two things, and these two are why a fleet does not grow for ever: each
process asks the one database whether anything has changed, and each follows every change.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Any

DAY = 86_400


def _given(meaning: str, unit: str = "") -> Any:
    return field(metadata={"meaning": meaning, "unit": unit})


@dataclass(frozen=True)
class Costs:
    """Measured. Times are of one core."""

    introspect: float = _given(
        "the service's for an introspection of a token it knows, but for the question below",
        "µs",
    )
    verify: float = _given("a sibling's for checking a token it knows itself", "µs")
    verify_new: float = _given("the same for a token never seen", "µs")
    refresh: float = _given("the service's for a refresh", "µs")
    refresh_database: float = _given("PostgreSQL's for a refresh", "µs")
    login: float = _given("of hashing, for a login", "ms")
    question: float = _given("PostgreSQL's for asking whether anything has changed", "µs")
    ask: float = _given("the service's for asking it", "µs")
    asking: float = _given("from such a question to its answer: a process has one under way", "µs")
    follow: float = _given("of each process for each change that it hears of", "µs")
    tell: float = _given("of a process for telling one follower of one revocation", "µs")
    user: float = _given("a user's row with its indexes", "bytes")
    session: float = _given("a session's", "bytes")
    refresh_token: float = _given("a refresh token's, one for each refresh", "bytes")
    audit_event: float = _given("an audit event's", "bytes")


@dataclass(frozen=True)
class Demand:
    """What is asked of it, at the busiest minute; rates are a second."""

    users: float = _given("users")
    validations: float = _given("tokens validated by siblings", "/s")
    introspected: float = _given("share of these that siblings ask us about", "share")
    active: float = _given("share of the users that use it on a day", "share")
    logins: float = _given("logins of such a user on a day")
    refreshes: float = _given("refreshes of such a user on a day, over all devices")
    ends: float = _given("sessions ended and tokens revoked by such a user on a day")
    sessions: float = _given("sessions kept for each user, live or just over")
    session_days: float = _given("days that a session and all its refresh tokens are kept", "days")
    audit_days: float = _given("days that audit events are kept in the database", "days")
    peak: float = _given("the busiest minute, × the day's mean", "×")
    followers: float = _given("processes of siblings that follow the revocations")


@dataclass(frozen=True)
class Limits:
    """Of what there is one: a primary, and the share of it that may be used."""

    busy: float = _given("share of a core that is planned with", "share")
    cores: float = _given("cores of the primary", "cores")
    commits: float = _given("durable commits of the primary", "/s")
    connections: float = _given("connections of the primary")
    storage: float = _given("what one primary is trusted with", "TB")
    pool: float = _given("connections of a process: the pool, and one for the change feed")


@dataclass(frozen=True)
class Need:
    """Of one fleet on one database. Cores are those that are busy; machines have more."""

    service_cores: float
    sibling_cores: float
    hashing_cores: float
    processes: int
    questions: float
    """A second, of all processes."""
    changes: float
    following: float
    """Share of each process that goes into following changes."""
    telling: float
    """Cores that go into telling followers."""
    database_cores: float
    commits: float
    connections: float
    storage: dict[str, float]
    """Bytes, by table."""


def need(costs: Costs, demand: Demand, limits: Limits) -> Need:
    daily = demand.users * demand.active * demand.peak / DAY
    refreshes, logins, ends = (
        daily * each for each in (demand.refreshes, demand.logins, demand.ends)
    )
    introspections = demand.validations * demand.introspected
    asked = introspections + refreshes
    telling = ends * demand.followers * costs.tell / 1e6
    work = (introspections * costs.introspect + refreshes * costs.refresh) / 1e6 + telling
    hashing = logins * costs.login / 1e3
    following = ends * costs.follow / 1e6

    def busy(processes: float) -> float:
        """Share of a core that each of so many is busy. Following takes as much of every one."""
        asking = questions_of_one(costs, asked / processes) * costs.ask / 1e6
        return work / processes + asking + following

    processes = _fewest(lambda count: busy(count) <= limits.busy) if following < limits.busy else 0
    questions = processes * questions_of_one(costs, asked / processes) if processes else 0.0
    commits = refreshes + logins + ends + processes
    database = refreshes * costs.refresh_database + questions * costs.question
    kept = demand.users * demand.active
    stored = {
        "users": demand.users * costs.user,
        "sessions": demand.users * demand.sessions * costs.session,
        "refresh tokens": kept * demand.refreshes * demand.session_days * costs.refresh_token,
        "audit events": kept
        * (demand.refreshes + demand.logins + demand.ends)
        * demand.audit_days
        * costs.audit_event,
    }
    return Need(
        service_cores=processes * busy(processes) if processes else math.inf,
        sibling_cores=demand.validations * (1 - demand.introspected) * costs.verify / 1e6,
        hashing_cores=hashing / limits.busy,
        processes=processes,
        questions=questions,
        changes=ends,
        following=following,
        telling=telling,
        database_cores=database / 1e6,
        commits=commits,
        connections=processes * limits.pool,
        storage=stored,
    )


def questions_of_one(costs: Costs, asked: float) -> float:
    """A second, of a process that is asked so often: requests that come while a question is under
    way share the next one."""
    return min(asked, 1e6 / costs.asking)


def _fewest(enough: Callable[[int], bool]) -> int:
    """Processes, two at least: one may be lost."""
    low, high = 1, 2
    while not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def strain(found: Need, limits: Limits) -> dict[str, float]:
    """What each thing of which there is one is asked for, × what it has: beyond 1 it breaks."""
    strains = {
        "the primary's cores": found.database_cores / (limits.cores * limits.busy),
        "its commits": found.commits / (limits.commits * limits.busy),
        "its connections": found.connections / limits.connections,
        "its storage": sum(found.storage.values()) / (limits.storage * 1e12),
        "following changes": found.following / (limits.busy / 2),
    }
    return dict(sorted(strains.items(), key=lambda each: -each[1]))


def cells(costs: Costs, demand: Demand, limits: Limits) -> int:
    """Into how many fleets, each with a database of its own, it has to be divided. Siblings follow
    every one of them."""
    low, high = 0, 1
    while max(strain(need(costs, of_one(demand, high), limits), limits).values()) > 1:
        low, high = high, high * 2
        if high > 1_000_000:
            raise ValueError("no number of cells is enough")
    while high - low > 1:
        middle = (low + high) // 2
        fits = max(strain(need(costs, of_one(demand, middle), limits), limits).values()) <= 1
        low, high = (low, middle) if fits else (middle, high)
    return high


def of_one(demand: Demand, count: int) -> Demand:
    """The part of one of `count` cells."""
    return replace(demand, users=demand.users / count, validations=demand.validations / count)


def rate(service: float, load: float, database: float, processes: int, cores: float) -> float:
    """Requests a second on a machine that service, PostgreSQL and load share, from the µs that each
    takes for one: as many as so many processes can do, or as the cores can."""
    return min(processes * 1e6 / service, cores * 1e6 / (service + load + database))


def shared(question: float, processes: int, waiting: int) -> float:
    """µs of each request for the question that it shares, where `waiting` requests wait for an
    answer at any time, divided over the processes: those that wait in one process share one."""
    return question / max(1.0, waiting / processes)


def described(kind: type[Any]) -> list[tuple[str, str, str]]:
    """(name, meaning, unit) of each input."""
    return [(each.name, each.metadata["meaning"], each.metadata["unit"]) for each in fields(kind)]
