"""How an error becomes what the RFCs say, in the only place that writes one."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import errors
from identity.errors import (
    Conflict,
    IdentityError,
    InsufficientScope,
    InvalidClient,
    InvalidGrant,
    InvalidScope,
    InvalidToken,
    MethodNotAllowed,
    MissingToken,
    Overloaded,
    TooManyRequests,
    Unavailable,
    ValidationFailed,
    pointer,
    render,
)

ALL = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type)
    and issubclass(cls, IdentityError)
    and cls.__module__.startswith(f"{errors.__name__}.")
]


def made(cls: type[IdentityError]) -> IdentityError:
    arguments: dict[type[IdentityError], tuple[Any, ...]] = {
        ValidationFailed: ([("/name", "is missing")],),
        MethodNotAllowed: (["GET", "HEAD"],),
    }
    return cls(*arguments.get(cls, ()))


def rendered(error: IdentityError, *, oauth: bool) -> tuple[int, dict[str, str], Any]:
    status, headers, body = render(error, oauth=oauth)
    fields = {name.decode(): value.decode("latin-1") for name, value in headers}
    assert len(fields) == len(headers)
    return status, fields, json.loads(body)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_renders_both_ways(cls: type[IdentityError]) -> None:
    error = made(cls)
    assert 400 <= error.status < 600
    status, headers, document = rendered(error, oauth=True)
    assert status == error.status
    assert headers["content-type"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert document == {"error": error.code, "error_description": error.detail}
    status, headers, document = rendered(error, oauth=False)
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert set(document) - {"errors"} == {"type", "title", "status", "detail"}
    assert document["status"] == status == error.status
    assert document["title"] == error.title
    # 401 always challenges (RFC 9110 §15.5.2), 503 and 429 always say when to come back.
    assert ("www-authenticate" in headers) or status != 401
    assert ("retry-after" in headers) == isinstance(error, errors.RetryLater)


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_what_only_the_operator_may_know_is_never_written(cls: type[IdentityError]) -> None:
    if cls in (ValidationFailed, MethodNotAllowed):
        return
    error = cls(audit="the operator's eyes only")
    for oauth in (True, False):
        _, headers, body = render(error, oauth=oauth)
        assert b"operator" not in body
        assert all(b"operator" not in value for _, value in headers)
    assert error.audit == "the operator's eyes only"


@given(st.text())
def test_an_error_description_stays_within_its_characters(text: str) -> None:
    """RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E, as far as we write ASCII."""
    _, _, document = rendered(InvalidScope(text or "x"), oauth=True)
    assert '"' not in document["error_description"]
    assert "\\" not in document["error_description"]


@given(st.text(), st.text())
def test_a_challenge_is_one_line_whatever_it_quotes(detail: str, scope: str) -> None:
    _, headers, _ = rendered(InvalidToken(detail or "x", scope=scope or None), oauth=False)
    challenge = headers["www-authenticate"]
    assert challenge.isascii() and challenge.isprintable()
    assert challenge.count('"') % 2 == 0 and "\\" not in challenge


def test_challenges_are_those_of_rfc_6750() -> None:
    _, headers, _ = rendered(MissingToken(scope="users:read"), oauth=False)
    assert headers["www-authenticate"] == 'Bearer realm="identity", scope="users:read"'
    _, headers, _ = rendered(InvalidToken("expired"), oauth=False)
    assert headers["www-authenticate"] == (
        'Bearer realm="identity", error="invalid_token", error_description="expired"'
    )
    status, headers, _ = rendered(InsufficientScope("lacks a b", scope="a b"), oauth=False)
    assert status == 403
    assert headers["www-authenticate"] == (
        'Bearer realm="identity", error="insufficient_scope", '
        'error_description="lacks a b", scope="a b"'
    )
    _, headers, _ = rendered(InvalidClient(), oauth=True)
    assert headers["www-authenticate"].startswith("Basic realm=")


def test_members_of_their_own() -> None:
    problem = ValidationFailed([("/name", "is missing"), ("/roles/0", "no such role")])
    status, _, document = rendered(problem, oauth=False)
    assert status == 422
    assert document["detail"] == "/name: is missing; /roles/0: no such role"
    assert document["errors"] == [
        {"pointer": "/name", "detail": "is missing"},
        {"pointer": "/roles/0", "detail": "no such role"},
    ]
    _, headers, _ = rendered(MethodNotAllowed(["GET", "HEAD"]), oauth=False)
    assert headers["allow"] == "GET, HEAD"


def test_retry_after_is_whole_seconds_and_at_least_one() -> None:
    for error in (TooManyRequests(0), Overloaded(-3), Unavailable()):
        assert error.headers() == {"Retry-After": "1"}
    assert TooManyRequests(299).headers() == {"Retry-After": "299"}


def test_only_refusals_of_the_protocol_keep_what_was_written() -> None:
    assert InvalidGrant("x").commits and TooManyRequests(1).commits
    for error in (Conflict("x"), Unavailable(), InvalidToken("x"), errors.ServerError()):
        assert not error.commits


def test_a_pointer_escapes_what_it_must_and_what_has_no_encoding() -> None:
    assert pointer("a/b", "c~d", 0, "\u00e9", "\ud800") == "/a~1b/c~0d/0/\u00e9/\\ud800"
    assert pointer() == ""
