"""What `make test` asks of one database only. There the database plays a small part: what is asked
for is parsed, refused, signed or shown, by queries and transactions that others try on both. Their
PostgreSQL half is marked `again`, which `make test-proofs` runs."""

from collections.abc import Iterable
from typing import Any

import pytest

DIALECTS = ["sqlite", "postgresql"]
ONCE = (
    "tests/api/access/",
    "tests/api/clients/",
    "tests/api/me/",
    "tests/api/test_branding.py",
    "tests/api/test_joined_words.py",
    "tests/api/test_lockdown.py",
    "tests/api/test_merge_patch.py",
    "tests/api/test_openapi.py",
    "tests/api/test_welcome.py",
    "tests/api/users/test_administration.py",
    "tests/api/users/test_privileges.py",
    "tests/attacks/",
    "tests/authentication/test_certificates.py",
    "tests/authentication/test_dpop.py",
    "tests/authentication/test_foreign.py",
    "tests/authentication/test_workload_identity.py",
    "tests/cli/applying/",
    "tests/cli/test_accounts.py",
    "tests/cli/test_branding.py",
    "tests/cli/test_client_settings.py",
    "tests/cli/test_clients_and_roles.py",
    "tests/cli/test_command.py",
    "tests/cli/test_confirming.py",
    "tests/cli/test_demo.py",
    "tests/cli/test_exports.py",
    "tests/cli/test_factors.py",
    "tests/cli/test_healthcheck.py",
    "tests/cli/test_keys.py",
    "tests/cli/test_tokens.py",
    "tests/cli/test_user_profile.py",
    "tests/cli/test_users.py",
    "tests/conformance/",
    "tests/examples/",
    "tests/http/",
    "tests/interop/",
    "tests/keys/test_audience_algorithms.py",
    "tests/keys/test_exchange.py",
    "tests/keys/test_master.py",
    "tests/oauth/authorize/",
    "tests/oauth/grants/test_jwt_bearer.py",
    "tests/oauth/grants/test_lifetimes.py",
    "tests/oauth/grants/test_lockout.py",
    "tests/oauth/grants/test_password.py",
    "tests/oauth/grants/test_requests.py",
    "tests/oauth/grants/test_roles_by_level.py",
    "tests/oauth/grants/test_scopes.py",
    "tests/oauth/grants/test_second_factor.py",
    "tests/oauth/grants/test_token_exchange.py",
    "tests/oauth/registration/",
    "tests/oauth/test_",
    "tests/pages/",
    "tests/parties/",
    "tests/records/test_refusals.py",
    "tests/service/test_built_in_client.py",
    "tests/service/test_why.py",
    "tests/siblings/",
    "tests/tokens/status/test_lists.py::test_it_comes_as_jwt_or_not_at_all",
    "tests/tokens/status/test_lists.py::test_there_are_no_other_lists",
    "tests/tokens/test_audience_algorithms.py",
    "tests/tokens/test_claims.py",
    "tests/tokens/test_client_algorithms.py",
    "tests/tokens/test_former_keys.py",
)
"""How their names begin."""
AT_ONCE = ("_at_once", "_while_", "one_wins")
"""Two at once are asked of both databases all the same: each has locks of its own."""

OF_ITS_OWN = (
    "tests/api/users/test_searching.py",
    "tests/cli/",
    "tests/faults/",
    "tests/fuzz/",
    "tests/store/",
    "tests/upgrade/",
)
"""Tests that look at the server itself, at its plans, or from outside at what it holds."""


def may_stand(item: Any) -> bool:
    """Whether the test may have a database that was put back after another (`tests.standing`). One
    that starts processes may not: they may outlive it for a moment."""
    return not item.nodeid.startswith(OF_ITS_OWN) and "server" not in item.fixturenames


def mark(items: Iterable[pytest.Item]) -> None:
    """Tests that name their databases themselves are left alone."""
    for item in items:
        if not item.nodeid.startswith(ONCE) or _named(item):
            continue
        if any(words in item.name for words in AT_ONCE):
            continue
        callspec: Any = getattr(item, "callspec", None)
        if callspec is not None and callspec.params.get("dialect") == "postgresql":
            item.add_marker("again")


def _named(item: pytest.Item) -> bool:
    return any("dialect" in mark.args[0] for mark in item.iter_markers("parametrize"))
