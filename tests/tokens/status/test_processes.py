"""Status lists of several real servers on one database, one of which dies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from identity.directory.clients import accounts as clients
from identity.tokens.sessions import lifecycle
from tests.databases import wait_until
from tests.faults.replicas import CLIENT, ISSUER, Replicas
from tests.serving import Server
from tests.tokens.status.decoding import bits_of, opened, reference

SHOWN_WITHIN = 10.0  # seconds on a busy machine; a server makes a changed list anew in half of one


@pytest.fixture
def replicas(database_url: str, tmp_path: Path) -> Iterator[Callable[[int], Replicas]]:
    started: list[Replicas] = []

    def start(count: int) -> Replicas:
        started.append(Replicas(database_url, tmp_path, count))
        return started[-1]

    yield start
    for each in started:
        each.close()


@contextmanager
def reading(server: Server) -> Iterator[Callable[[list[str]], list[bool]]]:
    """Which tokens' bits are set in what `server` publishes now."""
    with httpx.Client(base_url=server.url, trust_env=False) as api:

        def revoked(tokens: list[str]) -> list[bool]:
            places = [reference(token) for token in tokens]
            keys = api.get("/.well-known/jwks.json").json()
            lists = {}
            for uri in {uri for uri, _ in places}:
                claims = opened(api.get(uri.removeprefix(ISSUER)), keys, uri)
                lists[uri] = bits_of(claims["status_list"]["lst"])
            return [bool(lists[uri] >> index & 1) for uri, index in places]

        yield revoked


def test_a_list_is_the_same_wherever_it_is_read(
    replicas: Callable[[int], Replicas],
) -> None:
    ours = replicas(2)
    here, there = ours.servers
    with ours.lines() as (a, b), reading(here) as of_here, reading(there) as of_there:
        tokens = [line.issue() for line in (a, b) for _ in range(3)]
        user = ours.user()
        logins = [line.log_in(user.username) for line in (a, b)]
        tokens += [login["access_token"] for login in logins]
        assert len({reference(token) for token in tokens}) == len(tokens)
        for revoked in (of_here, of_there):
            assert not any(revoked(tokens))
        b.revoke(tokens[0])
        a.revoke(logins[1]["refresh_token"])
        expected = [n in (0, 7) for n in range(8)]
        for revoked in (of_here, of_there):
            wait_until(
                lambda revoked=revoked: revoked(tokens) == expected,
                SHOWN_WITHIN,
                lambda revoked=revoked: f"shown: {revoked(tokens)}",
            )


def test_a_process_that_dies_after_issuing_leaves_no_token_that_cannot_be_revoked(
    replicas: Callable[[int], Replicas],
) -> None:
    ours = replicas(2)
    dies, stays = ours.servers
    user = ours.user()
    with ours.lines(dies) as (line,):
        own = [line.issue() for _ in range(5)]
        login = line.log_in(user.username)
        users = [
            login["access_token"],
            line.refresh(login["refresh_token"]).document["access_token"],
        ]
        dies.kill()
    with reading(stays) as revoked, ours.lines(stays) as (line,):
        assert not any(revoked(own + users))
        with ours.db.transaction() as session:
            lifecycle.end_all(session, "test", user_id=user.id)
        wait_until(lambda: all(revoked(users)), SHOWN_WITHIN, lambda: "users' tokens live")
        others = line.issue()
        assert not any(revoked(own))
        with ours.db.transaction() as session:
            client = clients.get(session, CLIENT, lock=True)
            lifecycle.end_all(session, "client deleted", client_id=CLIENT)
            clients.remove(session, client, None)
        wait_until(
            lambda: all(revoked([*own, others])), SHOWN_WITHIN, lambda: "client's tokens live"
        )
