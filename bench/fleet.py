"""`make fleet`: what a fleet costs, from what one request costs here; it writes docs/fleet.md.

`--page` writes the page anew without measuring; `--set NAME=VALUE` puts in a value of your own (see
the page's tables for the names) and prints the answer instead.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from bench import wrk
from bench.fleet_model import (
    Costs,
    Demand,
    Limits,
    cells,
    described,
    need,
    of_one,
    rate,
    shared,
    strain,
)
from scripts.docs import table
from tests.databases import ROOT

TEMPLATE = ROOT / "bench" / "fleet.md"
PAGE = ROOT / "docs" / "fleet.md"
MEASURED = ROOT / "docs" / "fleet.json"
NOTHING: dict[str, Any] = {"ones": "", "jobs": "", "connections": 64, "costs": {}, "ran": []}
BEGIN, END = "<!-- fleet: {} -->", "<!-- end of {} -->"

DEMAND = Demand(
    users=1e9,
    validations=1e6,
    introspected=1.0,
    active=0.1,
    logins=0.05,
    refreshes=4,
    ends=0.05,
    sessions=1.5,
    session_days=97,
    audit_days=30,
    peak=3,
    followers=2_000,
)
LIMITS = Limits(busy=0.6, cores=64, commits=20_000, connections=2_000, storage=8, pool=9)
SIZES = (1e6, 1e7, 1e8, 1e9)


def costs_of(found: dict[str, Any]) -> Costs:
    return Costs(**{each.name: found["costs"][each.name] for each in fields(Costs)})


def rendered(page: str, found: dict[str, Any]) -> str:
    """The page with its tables as the file of what was measured has them."""
    costs = costs_of(found)
    parts = {
        "inputs": _inputs(costs, DEMAND, LIMITS, found),
        "check": _check(found),
        "sizes": _sizes(costs),
        "edges": _edges(costs),
    }
    for name, text in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return page


def _inputs(costs: Costs, demand: Demand, limits: Limits, found: dict[str, Any]) -> str:
    rows = [
        (f"`{name}`", f"{_number(getattr(of, name))} {unit}".strip(), f"{kind}: {meaning}")
        for kind, of in (("measured", costs), ("assumed", demand), ("assumed", limits))
        for name, meaning, unit in described(type(of))
    ]
    return (
        f"What one of each costs: {found['ones']}. Requests (`introspect`, `refresh`): "
        f"{found['jobs']}.\n\n" + table(("name", "value", "what it is"), rows)
    )


def predicted(found: dict[str, Any]) -> list[tuple[dict[str, Any], float]]:
    """Each run, and how many requests a second the model says: from what a request costs where
    there is one process, and the cores that all of it together had."""
    if not found["ran"]:
        return []
    alone = {each["job"]: each for each in found["ran"] if each["processes"] == 1}
    costs, waiting = costs_of(found), found["connections"]
    answers = []
    for each in found["ran"]:
        one, count = alone[each["job"]], each["processes"]
        service, database = one["service"], one["database"]
        if each["job"] == "introspect":
            service += shared(costs.ask, count, waiting) - shared(costs.ask, 1, waiting)
            database = shared(costs.question, count, waiting)
        said = rate(service, one["load"], database, count, each["cores"])
        answers.append((each, said))
    return answers


def _check(found: dict[str, Any]) -> str:
    if not found["ran"]:
        return "**Not shown yet**: this needs a quiet machine, and `make fleet`."
    rows = [
        (
            each["job"],
            str(each["processes"]),
            f"{each['rate']:,.0f}",
            f"{said:,.0f}",
            f"{each['rate'] / said:.2f}",
            f"{each['service']:.0f}, {each['database']:.0f}, {each['load']:.0f}",
            f"{each['cores']:.2f}",
        )
        for each, said in predicted(found)
    ]
    heads = ("job", "processes", "measured /s", "model /s", "measured ÷ model",
             "µs a request: service, PostgreSQL, load", "cores in all")  # fmt: skip
    return table(heads, rows)


def _sizes(costs: Costs) -> str:
    """What each size asks of one database: the strains, the worst in bold."""
    demands = [_scaled(users) for users in SIZES]
    found = [need(costs, demand, LIMITS) for demand in demands]
    strains = [strain(each, LIMITS) for each in found]
    rows = [
        ("validations a second", *(_number(each.validations) for each in demands)),
        ("processes of the service", *(f"{each.processes:,}" for each in found)),
        ("cores that hash passwords", *(f"{each.hashing_cores:,.1f}" for each in found)),
        ("questions a second, at most", *(f"{each.questions:,.0f}" for each in found)),
        ("commits a second", *(f"{each.commits:,.0f}" for each in found)),
        ("stored", *(f"{sum(each.storage.values()) / 1e12:,.2f} TB" for each in found)),
        *(
            (f"{name}, × what it has", *(_strained(each, name) for each in strains))
            for name in strains[-1]
        ),
        ("cells", *(str(cells(costs, demand, LIMITS)) for demand in demands)),
    ]
    return table(("users", *map(_number, SIZES)), rows)


def _strained(strains: dict[str, float], name: str) -> str:
    mark = "**" if name == next(iter(strains)) else ""
    return f"{mark}{strains[name]:.2g}{mark}"


def _scaled(users: float) -> Demand:
    part = users / DEMAND.users
    return replace(DEMAND, users=users, validations=DEMAND.validations * part)


def _edges(costs: Costs) -> str:
    """The largest fleet, by how much of it siblings verify themselves."""
    rows = []
    for share in (1.0, 0.1, 0.0):
        demand = replace(DEMAND, introspected=share)
        count = cells(costs, demand, LIMITS)
        whole, one = need(costs, demand, LIMITS), need(costs, of_one(demand, count), LIMITS)
        strains = strain(one, LIMITS)
        worst, times = next(iter(strains.items()))
        rows.append(
            (
                f"{share:.0%}",
                f"{whole.processes:,}",
                f"{whole.sibling_cores:,.0f}",
                str(count),
                f"{one.processes:,}",
                f"{one.database_cores:,.1f}",
                f"{worst}, {times:,.2f} ×",
            )
        )
    heads = ("introspected", "processes of one fleet", "siblings' cores for the rest", "cells",
             "processes of a cell", "cores of its primary", "what it is nearest to")  # fmt: skip
    return table(heads, rows)


def _number(value: float) -> str:
    if value >= 1e6 and value == 10 ** round(len(str(int(value))) - 1):
        return f"10^{len(str(int(value))) - 1}"
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


def answered(found: dict[str, Any], given: Sequence[str]) -> str:
    """What the reader's own inputs come to. `ValueError` where a name is none of the page's."""
    inputs: list[Any] = [costs_of(found), DEMAND, LIMITS]
    for each in given:
        name, _, value = each.partition("=")
        for at, group in enumerate(inputs):
            if hasattr(group, name):
                inputs[at] = replace(group, **{name: float(value)})
                break
        else:
            raise ValueError(f"{name} is no input: see the table in docs/fleet.md")
    costs, demand, limits = inputs
    whole = need(costs, demand, limits)
    lines = [f"{name}: {getattr(whole, name):,.6g}" for name in (
        "processes", "service_cores", "sibling_cores", "hashing_cores", "questions", "commits",
        "connections", "database_cores", "following", "telling")]  # fmt: skip
    lines += [f"storage, {name}: {size / 1e9:,.1f} GB" for name, size in whole.storage.items()]
    lines += [
        f"{name}: {times:.3g} × what one has" for name, times in strain(whole, limits).items()
    ]
    return "\n".join([*lines, f"cells: {cells(costs, demand, limits)}"])


def _keep(found: dict[str, Any]) -> None:
    MEASURED.write_text(json.dumps(found, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    parser.add_argument("--page", action="store_true", help="write the page without measuring")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", dest="given")
    parser.add_argument("--ones", action="store_true", help="only what one of each costs")
    parser.add_argument("--jobs", action="store_true", help="only requests, by many processes")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    if options.given:
        print(answered(json.loads(MEASURED.read_text()), options.given))
        return 0
    if not options.page:
        if problem := wrk.missing():
            print(problem, file=sys.stderr)
            return 2
        from bench import fleet_measured

        found = json.loads(MEASURED.read_text()) if MEASURED.exists() else NOTHING
        if not options.jobs:
            found = fleet_measured.ones(found, _keep)
        if not options.ones:
            found = fleet_measured.jobs(found, options.seconds, options.rounds)
        _keep(found)
    PAGE.write_text(rendered(TEMPLATE.read_text(), json.loads(MEASURED.read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
