"""What starts real processes: servers, browsers, databases of its own, proxies, commands. Such a
test is marked `real`: it takes as long as ten others, and `make test-real` runs it. A few of them,
some of each kind, are marked `sample` too, and `make test` runs those as well.

Nobody is marked by hand, and nobody is forgotten: a test of which nothing is said here is refused
the process that it starts.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

FIXTURES = (
    "tests.conftest:server",
    "tests.deploy.test_compose:primary",
    "tests.deploy.test_systemd:served",
    "tests.examples.conftest:deployment",
    "tests.faults.conftest:pairs",
    "tests.faults.conftest:replicas",
    "tests.faults.test_failover:pair",
    "tests.faults.test_killed:durable",
    "tests.faults.test_mail_delivery:sending",
    "tests.faults.test_postgresql_frozen:mortal",
    "tests.faults.test_postgresql_gone:mortal",
    "tests.http.wire.connection.test_proxies:proxy",
    "tests.interop.conftest:issued",
    "tests.interop.test_node_verifiers:ask",
    "tests.interop.test_siblings_under_faults:sites",
    "tests.oauth.revocation_feed.conftest:start",
    "tests.oauth.revocation_feed.conftest:watched_pairs",
    "tests.pages.console.test_in_chromium:chromium",
    "tests.pages.console.test_stopping_in_chromium:chromium",
    "tests.pages.test_account_in_chromium:chromium",
    "tests.pages.test_conveniences_in_chromium:chromium",
    "tests.pages.test_docs_in_chromium:chromium",
    "tests.pages.test_in_chromium:chromium",
    "tests.pages.test_looks_in_chromium:chromium",
    "tests.parties.conftest:provider",
    "tests.service.test_health:own_postgres",
    "tests.siblings.conftest:chromium",
    "tests.siblings.conftest:pair",
    "tests.store.test_statements:explained",
    "tests.test_packaging:wheel",
    "tests.tokens.status.test_processes:replicas",
    "tests.upgrade.conftest:code_before",
    "tests.upgrade.conftest:start_beside",
)
"""Whoever asks for one of these."""
TESTS = (
    "tests/authentication/passwords/test_hashing.py::test_importing_the_hasher",
    "tests/cli/applying/test_at_start.py::test_the_command_does_not_start_with_a_file_that_is_wrong",
    "tests/cli/applying/test_cut_off.py",
    "tests/cli/test_backup.py::test_a_dump_that_fails",
    "tests/cli/test_backup.py::test_a_restored_backup",
    "tests/cli/test_backup.py::test_pg_dump_writes_an_archive",
    "tests/cli/test_command.py",
    "tests/cli/test_imports.py",
    "tests/deploy/test_chart.py",
    "tests/deploy/test_compose.py::test_haproxy_takes_it",
    "tests/deploy/test_systemd.py::test_systemd_",
    "tests/examples/test_guides.py::test_a_",
    "tests/examples/test_guides.py::test_what_did_not_begin_in_the_tool_does_not_end_in_it",
    "tests/examples/test_orders.py::test_it_is_small_and_its_own_tests_pass",
    "tests/examples/test_page.py::test_what_the_api_page_shows_is_python_and_its_tests_pass",
    "tests/faults/test_pgbouncer.py",
    "tests/faults/test_postgresql_frozen.py",
    "tests/http/server/test_haproxy.py",
    "tests/http/server/test_mutual_tls.py",
    "tests/http/server/test_serving.py::test_a_broken_",
    "tests/http/server/test_serving.py::test_a_dead_worker",
    "tests/http/server/test_serving.py::test_a_port_in_use",
    "tests/http/server/test_serving.py::test_a_process_asked_to_stop",
    "tests/http/server/test_serving.py::test_a_refused_start",
    "tests/http/server/test_serving.py::test_connections_spread_over_the_workers",
    "tests/http/server/test_serving.py::test_what_is_in_flight_is_finished",
    "tests/http/server/test_serving.py::test_what_never_ends_is_cut_off",
    "tests/http/server/test_serving.py::test_whichever_worker_is_scraped",
    "tests/http/server/test_serving.py::test_workers_do_not_outlive",
    "tests/http/wire/connection/test_refused.py::test_a_thousand_that_send",
    "tests/keys/test_at_once.py",
    "tests/oauth/revocation_feed/test_stream.py::test_without_a_database_there_are_no_heartbeats",
    "tests/records/test_tracing.py::test_where_nobody_wants_traces",
    "tests/service/test_bootstrap.py::test_replicas_that_start_at_once",
    "tests/service/test_start.py",
    "tests/store/test_migrating.py::test_a_migration_whose_process_was_killed",
    "tests/store/test_migrating.py::test_alembics_own_command",
    "tests/store/test_migrating.py::test_replicas_that_start_at_once",
    "tests/store/test_wal.py::test_a_commit_that_changes_nothing_of_ours",
    "tests/store/test_wal.py::test_every_commit_of_another_process",
    "tests/store/test_wal.py::test_whoever_lets_go_of_the_index",
    "tests/test_against.py",
    "tests/test_packaging.py::test_a_python_that_is_missing_or_too_old",
    "tests/test_packaging.py::test_git_ignores",
    "tests/test_packaging.py::test_make_help",
    "tests/test_packaging.py::test_the_verifier_needs_only",
    "tests/test_sbom.py::test_the_same_lock_makes_the_same_octets",
    "tests/test_watching.py::test_prometheus_reads_the_rules",
    "tests/trials/test_trials.py::test_the_promise_of_a_row_is_kept_once",
    "tests/verifier/test_imports.py",
    "tests/verifier/test_namesake.py",
    "tests/verifier/test_plugin.py::test_a_siblings_suite",
    "tests/verifier/test_plugin.py::test_the_",
    "tests/verifier/test_plugin.py::test_without_the_server",
    "tests/verifier/test_tracing.py::test_a_verifier_imports_nothing_for_that",
)
"""Those that do it themselves, by how their names begin."""
SAMPLE = (
    "tests/cli/test_command.py::test_help_names_every_command_and_imports_none_of_the_service",
    "tests/cli/test_running_service.py::test_every_process_sees_at_once_what_the_command_line_changed",
    "tests/http/server/test_plain_http.py::test_a_token_is_issued_introspected_refreshed_and_revoked",
    "tests/pages/test_in_chromium.py::test_somebody_signs_in_agrees_and_signs_out",
)
"""Of those, what `make test` runs too: the command, servers and a browser, on both databases."""

STARTS = frozenset({"subprocess.Popen", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"})
"""Events of Python's audit (PEP 578)."""
_refused_to: list[str] = []
"""The test that runs, if it may start nothing."""


def mark(items: Iterable[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(TESTS) or not _fixtures(item).isdisjoint(FIXTURES):
            item.add_marker("real")
            if item.nodeid.startswith(SAMPLE):
                item.add_marker("sample")


def _fixtures(item: Any) -> set[str]:
    """Each as `module:function`, the one that counts for this test where several have a name."""
    functions = [each[-1].func for each in item._fixtureinfo.name2fixturedefs.values()]
    return {f"{function.__module__}:{function.__name__}" for function in functions}


def watch() -> None:
    """For as long as this process lives."""
    sys.addaudithook(_look)


@contextmanager
def held_to_its_word(item: pytest.Item) -> Iterator[None]:
    if item.get_closest_marker("real") is None:
        _refused_to.append(item.nodeid)
    try:
        yield
    finally:
        _refused_to.clear()


@contextmanager
def shared_by_all() -> Iterator[None]:
    """What starts here is every test's."""
    kept = _refused_to.copy()
    _refused_to.clear()
    try:
        yield
    finally:
        _refused_to.extend(kept)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if _refused_to and event in STARTS:
        raise RuntimeError(f"tests/real.py does not say that this starts: {arguments}")
