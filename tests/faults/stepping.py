"""`identity`, on a machine whose clock is off by the seconds in the file CLOCK_FILE, which may
change while it runs. The database's server has a clock of its own."""

import os
import sys
import time

_FILE = os.environ["CLOCK_FILE"]
_true_time = time.time


def _stepped() -> float:
    with open(_FILE) as file:
        return _true_time() + float(file.read() or 0)


time.time = _stepped

if __name__ == "__main__":
    from identity.cli import main

    sys.argv[0] = "identity"
    main()
