"""`make attacks`: what comes of attacks on the service. docs/proof.md says what is measured and how
to read it."""

import sys
from pathlib import Path

from tests.attacks.rows import ROWS
from tests.trials.running import main

FILE = Path(__file__).parent / "trials.jsonl"

if __name__ == "__main__":
    sys.exit(main("attacks", ROWS, FILE))
