"""What is tried against the service: the rows of `make attacks`."""

from tests.attacks import forging, leaking, rights, telling
from tests.trials.row import Row

ROWS = (
    Row(
        "forged tokens, in process",
        "good tokens of every algorithm, changed in any way and up to three at a time, and every "
        "attack that we know of by name: the gate takes none",
        forging.at_the_gate, forging.refused_at_the_gate, 1_000_000, each=10_000,
        databases=("none",),
    ),
    Row(
        "forged tokens, over HTTP",
        "the same as bearer tokens and at introspection: none is alive, and none is a 5xx",
        forging.over_http, forging.refused_over_http, 100_000, each=1_000,
        databases=("sqlite",),
    ),
    Row(
        "rights",
        "40 administrative calls of users and clients of random rights, one after another: nobody "
        "may more by the act of somebody who did not, and an administrator is left",
        rights.at_home, rights.nobody_may_more, 2_000, each=5,
    ),
    Row(
        "accounts told apart",
        "2,000 pairs of wrong passwords for accounts that there are and are not, over all schemes "
        "of hashes: one answer, and by its time an AUC of 0.55 at most",
        telling.guessing, telling.told_apart, 5,
    ),
    Row(
        "secrets",
        "passwords, secrets, tokens and codes in the right and wrong places of 60 requests: none "
        "in the log, metrics, errors, database or list of processes",
        leaking.talkative, leaking.says_nothing, 1_000,
    ),
)  # fmt: skip
