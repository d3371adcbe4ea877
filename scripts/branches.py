"""Branch coverage of each of the rooms that are named, from the `.coverage` at hand.

Exits with 1 where one of them is under 95 %, naming it.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

REQUIRED = 95.0


def measured(files: Mapping[str, Any], room: str) -> float:
    """Percent of the branches of `identity/<room>/` that ran, in both directions."""
    sums = [
        (file["summary"]["covered_branches"], file["summary"]["num_branches"])
        for path, file in files.items()
        if PurePath(path).parts[:2] == ("identity", room)
    ]
    if not sums:
        raise SystemExit(f"identity/{room}: nothing was measured")
    covered, branches = map(sum, zip(*sums, strict=True))
    return 100 * covered / branches


def main() -> None:
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    under = False
    for room in sys.argv[1:]:
        percent = measured(report["files"], room)
        under |= percent < REQUIRED
        print(f"{percent:5.1f} % of the branches of identity/{room}" + " <" * (percent < REQUIRED))
    if under:
        raise SystemExit(f"at least {REQUIRED:.0f} % is asked of each")


if __name__ == "__main__":
    main()
