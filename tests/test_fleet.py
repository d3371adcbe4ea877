"""The model of what a fleet costs, and docs/fleet.md: what it makes of what was measured."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import fleet
from bench.fleet_model import (
    Costs,
    Demand,
    Limits,
    cells,
    need,
    of_one,
    questions_of_one,
    rate,
    shared,
    strain,
)

SAMPLE = fleet.NOTHING | {
    "costs": {
        "introspect": 100, "verify": 4, "verify_new": 120, "refresh": 500, "refresh_database": 400,
        "login": 250, "question": 30, "ask": 60, "asking": 100, "follow": 8, "tell": 6, "user": 700,
        "session": 700, "refresh_token": 420, "audit_event": 700,
    }
}  # fmt: skip
"""For the arithmetic alone; nobody has measured it."""
FOUND = json.loads(fleet.MEASURED.read_text()) if fleet.MEASURED.exists() else SAMPLE
measured = pytest.mark.skipif(
    not fleet.MEASURED.exists(), reason="not measured yet: `make fleet` needs a quiet machine"
)
COSTS: Costs = fleet.costs_of(FOUND)
DEMAND: Demand = fleet.DEMAND
LIMITS: Limits = fleet.LIMITS

users = st.floats(1e3, 1e9)
shares = st.floats(0, 1)


def fits(demand: Demand) -> bool:
    return max(strain(need(COSTS, demand, LIMITS), LIMITS).values()) <= 1


@measured
def test_the_page_says_what_the_model_makes_of_what_was_measured() -> None:
    assert fleet.rendered(fleet.TEMPLATE.read_text(), FOUND) == fleet.PAGE.read_text(), (
        "make fleet ARGS=--page"
    )


@measured
def test_the_check_is_of_one_two_four_and_eight_processes_or_the_page_says_there_is_none() -> None:
    for job in ("introspect", "refresh"):
        shown = [each["processes"] for each in FOUND["ran"] if each["job"] == job]
        assert shown == ([1, 2, 4, 8] if FOUND["ran"] else [])
    assert ("**Not shown yet**" in fleet.PAGE.read_text()) == (not FOUND["ran"])


def test_the_check_foretells_from_one_process_what_more_of_them_do() -> None:
    ran = [
        {"job": "introspect", "processes": n, "rate": 1.0, "service": 100.0, "database": 1.0,
         "load": 50.0, "cores": 2.0}
        for n in (1, 2, 8)
    ]  # fmt: skip
    found = FOUND | {"ran": ran, "connections": 64}
    said = [each for _, each in fleet.predicted(found)]
    assert said[0] == pytest.approx(10_000)  # one process: it alone is busy
    for count, rate_ in ((2, said[1]), (8, said[2])):
        more = COSTS.question * count / 64 + COSTS.ask * (count - 1) / 64
        assert rate_ == pytest.approx(2e6 / (150 + more))


@given(users, st.floats(1, 1e6), shares)
def test_as_many_cells_as_it_says_are_enough_and_one_less_is_not(
    people: float, validations: float, introspected: float
) -> None:
    demand = replace(DEMAND, users=people, validations=validations, introspected=introspected)
    count = cells(COSTS, demand, LIMITS)
    assert fits(of_one(demand, count))
    assert count == 1 or not fits(of_one(demand, count - 1))


@given(users, users, shares)
def test_more_people_never_need_less(few: float, many: float, introspected: float) -> None:
    few, many = sorted((few, many))
    demand = replace(DEMAND, introspected=introspected)
    less, more = (
        need(COSTS, replace(demand, users=people, validations=people / 1e3), LIMITS)
        for people in (few, many)
    )
    for name in ("service_cores", "processes", "questions", "commits", "connections", "following"):
        assert getattr(less, name) <= getattr(more, name) * (1 + 1e-9), name
    assert sum(less.storage.values()) <= sum(more.storage.values())


def test_what_siblings_verify_themselves_asks_nothing_of_the_database() -> None:
    asked = need(COSTS, DEMAND, LIMITS)
    verified = need(COSTS, replace(DEMAND, introspected=0), LIMITS)
    assert verified.questions < asked.questions / 5
    assert verified.sibling_cores == pytest.approx(DEMAND.validations * COSTS.verify / 1e6)
    assert asked.sibling_cores == 0


def test_a_fleet_that_nobody_asks_has_two_processes_in_one_cell() -> None:
    idle = replace(DEMAND, users=0, validations=0)
    found = need(COSTS, idle, LIMITS)
    assert (found.processes, found.questions, sum(found.storage.values())) == (2, 0, 0)
    assert cells(COSTS, idle, LIMITS) == 1


def test_a_process_that_is_not_hurried_asks_for_every_request() -> None:
    """So it takes more of them than the same requests would that waited for one another."""
    hurried = need(replace(COSTS, asking=1e9), DEMAND, LIMITS)
    assert hurried.processes < need(COSTS, DEMAND, LIMITS).processes
    assert questions_of_one(COSTS, 10) == 10
    assert questions_of_one(COSTS, 1e9) == pytest.approx(1e6 / COSTS.asking)


def test_processes_that_do_nothing_but_follow_changes_are_no_fleet() -> None:
    drowned = replace(DEMAND, ends=1e5)
    assert need(COSTS, drowned, LIMITS).service_cores == float("inf")
    assert not fits(drowned)
    assert cells(COSTS, drowned, LIMITS) > 1


@given(st.integers(1, 64), st.integers(1, 64), st.floats(1, 1e4), st.floats(0, 1e4))
def test_no_more_is_done_than_the_cores_and_the_processes_can(
    processes: int, cores: int, service: float, others: float
) -> None:
    done = rate(service, others, others, processes, cores)
    assert done * service <= processes * 1e6 * (1 + 1e-9)
    assert done * (service + 2 * others) <= cores * 1e6 * (1 + 1e-9)
    assert done == pytest.approx(
        min(processes * 1e6 / service, cores * 1e6 / (service + 2 * others))
    )


def test_those_who_wait_in_one_process_share_its_question() -> None:
    assert shared(64, 1, 64) == 1
    assert shared(64, 8, 64) == 8
    assert shared(64, 100, 64) == 64


def test_a_reader_puts_in_their_own() -> None:
    mine = fleet.answered(FOUND, ["users=2e6", "validations=5000", "cores=16"])
    assert "cells: 1" in mine
    assert mine != fleet.answered(
        FOUND, ["users=2e6", "validations=5000", "cores=16", "refreshes=40"]
    )
    with pytest.raises(ValueError, match="nobody is no input"):
        fleet.answered(FOUND, ["nobody=1"])
