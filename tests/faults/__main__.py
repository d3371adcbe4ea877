"""`make faults`: what becomes of the service when what it stands on gives way. docs/proof.md says
what is measured and how to read it."""

import sys
from pathlib import Path

from tests.faults.rows import ROWS
from tests.trials.running import main

FILE = Path(__file__).parent / "trials.jsonl"

if __name__ == "__main__":
    sys.exit(main("faults", ROWS, FILE))
