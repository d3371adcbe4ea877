"""How much of a proof is run: a short form in `make test` and `make test-real`, the whole in `make
test-proofs`, and in `make fuzz` for as long as one likes. The names of the tests are the same in
all."""

import os

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
WHOLE = LONG or os.environ.get("TEST_PROOFS") == "1"


def effort(short: int, whole: int, long: int | None = None) -> int:
    """`long` is `make fuzz`'s, where that is more than `whole`."""
    if LONG and long is not None:
        return long
    return whole if WHOLE else short
