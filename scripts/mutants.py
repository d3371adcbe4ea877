"""Whether tests can fail: each small change to the code (`mutations`) must make one of them fail.

`python -m scripts.mutants [PLACE...]` goes on where it was broken off: what has been killed and not
been written anew since is not tried again. The tests of a place run once, watched line by line;
then each change gets a fork of that process, with the changed function in it, and of the tests that
pass through its lines the quickest first, on SQLite. Changes outside of functions cost a process.

A survivor is a defect of the tests, or listed in docs/mutation.md with the reason why nobody could
notice. Exits with 1 where one is neither.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.mutations import Mutation, mutations

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "mutation.md"
STORE = ROOT / "var" / "mutants.jsonl"
LONGEST = 60.0
"""Seconds for the tests of one change, at the most; then it counts as noticed."""


def _of(file: str, *tests: str) -> tuple[str, ...]:
    """These of its tests alone: the others have nothing to do with the place."""
    return tuple(f"{file}::{test}" for test in tests)


PLACES: dict[str, tuple[str, ...]] = {
    "verifier/gate": ("tests/verifier/gate", "tests/directory/test_subjects.py"),
    "oauth/grants": (
        "tests/oauth/grants",
        "tests/tokens/sessions/test_rotation.py",
        "tests/authentication/test_clients.py",
        "tests/records/test_metrics.py",
        *_of(
            "tests/oauth/authorize/test_details.py",
            "test_a_token_request_narrows_and_never_widens",
            "test_a_code_whose_narrowing_is_refused_is_not_spent",
            "test_a_type_taken_away_from_the_client_is_in_no_later_token",
        ),
        *_of(
            "tests/oauth/authorize/test_requests.py",
            "test_a_client_may_do_without_pkce_only_where_it_is_set_so_and_has_a_secret",
        ),
        *_of(
            "tests/oauth/authorize/test_return_addresses.py",
            "test_the_address_may_be_left_out_where_one_is_registered",
        ),
        *_of(
            "tests/oauth/test_dpop.py",
            "test_a_public_clients_refresh_token_needs_the_very_key",
            "test_a_confidential_client_may_change_its_key_but_not_do_without",
            "test_a_code_that_names_a_key_is_redeemed_by_that_one_alone",
        ),
        *_of(
            "tests/oauth/test_certificate_bound.py",
            "test_every_grant_binds_its_tokens_where_the_client_asks_for_that",
            "test_a_public_clients_refresh_token_needs_the_very_certificate",
        ),
        *_of(
            "tests/oauth/test_fapi2.py",
            "test_refresh_tokens_are_not_rotated_and_end_with_their_session",
        ),
        *_of(
            "tests/api/test_lockdown.py",
            "test_every_way_to_a_token_is_shut_and_opens_again",
            "test_it_counts_though_it_begins_while_a_password_is_compared",
            "test_an_exchange_is_stopped_too",
        ),
    ),
    "authentication/clients": (
        "tests/authentication/test_clients.py",
        "tests/authentication/test_private_key_jwt.py",
        "tests/authentication/test_certificates.py",
        "tests/authentication/test_secrets_used.py",
        *_of(
            "tests/http/test_elsewhere.py",
            "test_an_answer_is_for_the_pages_of_its_client_alone",
        ),
        *_of(
            "tests/api/clients/test_settings.py",
            "test_a_client_uses_exactly_the_method_it_is_registered_for",
        ),
    ),
    "authentication/throttle": (
        "tests/authentication/test_throttle.py",
        "tests/api/test_blocks.py",
    ),
    "http/forms": ("tests/http/test_forms.py", "tests/oauth/grants/test_requests.py"),
    "tokens/sessions": (
        "tests/tokens/sessions/test_lifecycle.py",
        "tests/tokens/sessions/test_rotation.py",
        "tests/tokens/status/test_lists.py",
        "tests/tokens/test_liveness.py",
        "tests/oauth/grants/test_authorization_code.py",
        "tests/oauth/grants/test_device_code.py",
        "tests/oauth/grants/test_lifetimes.py",
        "tests/oauth/grants/test_token_exchange.py",
        "tests/oauth/authorize/test_details.py",
        "tests/oauth/authorize/test_pushed_documents.py",
        "tests/oauth/test_backchannel_logout.py",
        "tests/oauth/test_logout.py",
        "tests/oauth/test_revocation.py",
        "tests/oauth/test_dpop.py",
        "tests/oauth/test_fapi2.py",
        "tests/api/clients/test_registration.py",
        "tests/api/me",
        "tests/api/test_all_sessions.py",
        "tests/api/test_connections.py",
        "tests/api/test_filters.py",
        "tests/api/users/test_administration.py",
        "tests/pages/test_account.py",
    ),
    "directory/access": (
        "tests/api/access",
        "tests/api/clients",
        "tests/api/users/test_privileges.py",
        "tests/api/users/test_explaining.py",
        "tests/api/test_all_sessions.py",
        "tests/api/test_filters.py",
        "tests/oauth/grants/test_scopes.py",
        "tests/oauth/grants/test_roles_by_level.py",
        "tests/oauth/registration/test_registration.py",
        "tests/pages/console/test_screens.py",
        "tests/cli/test_clients_and_roles.py",
        "tests/service/test_bootstrap.py",
    ),
}
"""What is changed, and which tests are to notice."""


@dataclass(frozen=True)
class Mutant:
    path: str
    number: int
    mutation: Mutation

    @property
    def key(self) -> str:
        """Changes with the module and with the change."""
        text = (ROOT / self.path).read_text() + f"\n{self.number} {self.mutation.words}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def explained(self) -> tuple[str, str]:
        """How docs/mutation.md names it."""
        inside = self.mutation.place or "(module)"
        return f"{self.path.removeprefix('identity/')} {inside}", self.mutation.words


def mutants(place: str) -> list[Mutant]:
    where = ROOT / "identity" / place
    paths = sorted(where.glob("*.py")) if where.is_dir() else [where.with_suffix(".py")]
    return [
        Mutant(str(path.relative_to(ROOT)), number, mutation)
        for path in paths
        for number, mutation in enumerate(mutations(path))
    ]


def explained(page: str) -> set[tuple[str, str]]:
    """Place and change of each row of the page's tables: | `place` | `change` | reason |."""
    rows = re.findall(r"^\| `([^`]+)` \| `+ ?(.+?) ?`+ \| .+ \|$", page, re.MULTILINE)
    return {(place, change.replace("\\|", "|")) for place, change in rows}


def killed_before() -> set[str]:
    lines = STORE.read_text().splitlines() if STORE.exists() else []
    return {entry["key"] for entry in map(json.loads, lines) if entry["killed"]}


def tried(
    place: str, chosen: list[Mutant], until: float, imports: bool
) -> Iterator[tuple[Mutant, bool]]:
    """Each with whether it was killed, as far as time reaches."""
    warm = [mutant for mutant in chosen if mutant.mutation.held]
    cold = [mutant for mutant in chosen if not mutant.mutation.held]
    if warm:
        numbers = [f"{mutant.path}:{mutant.number}" for mutant in warm]
        command = [
            sys.executable,
            "-m",
            "scripts.mutated",
            "--warm",
            *PLACES[place],
            "--",
            *numbers,
        ]
        environment = {**os.environ, "MUTANTS_UNTIL": str(until)}
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                number, outcome = line.split()
                if outcome == "cold":
                    cold.append(warm[int(number)])
                else:
                    yield warm[int(number)], outcome == "killed"
        if process.returncode:
            raise SystemExit(f"the tests of {place} fail as the code stands")
    for mutant in cold:
        if time.time() > until or not imports:
            return
        number = f"{mutant.path}:{mutant.number}"
        command = [sys.executable, "-m", "scripts.mutated", "--cold", *PLACES[place], "--", number]
        yield mutant, _fails(command)


def _fails(command: list[str]) -> bool:
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return process.wait(LONGEST) != 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True


def sample(every: list[tuple[str, Mutant]], size: int, seed: int) -> list[tuple[str, Mutant]]:
    """As many of them, the same ones for the same seed and code."""
    return random.Random(seed).sample(every, min(size, len(every)))  # noqa: S311


def run(chosen: Iterable[tuple[str, Mutant]], until: float, *, anew: bool, imports: bool) -> int:
    """Prints each survivor; how many are neither killed nor explained."""
    known, reasons = set() if anew else killed_before(), explained(PAGE.read_text())
    todo: dict[str, list[Mutant]] = {}
    for place, mutant in chosen:
        todo.setdefault(place, []).append(mutant)
    unexplained = 0
    STORE.parent.mkdir(exist_ok=True)
    with STORE.open("a") as store:
        for place, all_of_it in todo.items():
            rest = [mutant for mutant in all_of_it if mutant.key not in known]
            told = [mutant for mutant in rest if mutant.explained in reasons]
            rest = [mutant for mutant in rest if mutant.explained not in reasons]
            killed, count = len(all_of_it) - len(rest) - len(told), 0
            for mutant, dead in tried(place, rest, until, imports) if rest else ():
                count += 1
                killed += dead
                store.write(json.dumps({"key": mutant.key, "killed": dead}) + "\n")
                store.flush()
                if not dead:
                    unexplained += 1
                    line = mutant.mutation.lines[0]
                    print(f"{mutant.path}:{line}: {mutant.mutation.place}: {mutant.mutation.words}")
            left = len(rest) - count
            print(
                f"{place}: {len(all_of_it)} changes, {killed} killed, {len(told)} explained"
                + (f", {left} not reached" if left else ""),
                flush=True,
            )
    return unexplained


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("places", nargs="*", choices=[[], *PLACES], metavar="PLACE")
    parser.add_argument(
        "--sample", type=int, metavar="N", help="so many at random, each tried anew"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--imports", action="store_true", help="what runs at an import as well")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after as many")
    asked = parser.parse_args()
    every = [(place, m) for place in asked.places or PLACES for m in mutants(place)]
    chosen = [pair for pair in every if asked.imports or pair[1].mutation.held]
    if asked.sample is not None:
        chosen = sample(chosen, asked.sample, asked.seed)
    until, anew = time.time() + asked.seconds, asked.sample is not None
    survivors = run(chosen, until, anew=anew, imports=asked.imports)
    if survivors:
        raise SystemExit(f"{survivors} survived and are not explained in docs/mutation.md")


if __name__ == "__main__":
    main()
