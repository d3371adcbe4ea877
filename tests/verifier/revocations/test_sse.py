"""Events come out whole and the same, wherever the network cuts their octets."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier.revocations import sse
from identity.verifier.revocations.sse import Event, Parser

# Whatever a line may hold: no line ends, which would make it two.
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
IDS = st.none() | st.integers(0, 10**9).map(str)
EVENTS = st.lists(
    st.builds(
        Event,
        name=st.text("abcdefgh", min_size=1, max_size=8),
        data=st.lists(LINES, min_size=1, max_size=3).map("\n".join),
        id=IDS,
    ),
    max_size=6,
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def written(events: list[Event], end: str, *, comments: bool = False) -> bytes:
    lines = []
    for event in events:
        if comments:
            lines.append(": here to keep the connection open")
        lines.append(f"event: {event.name}")
        if event.id is not None:
            lines.append(f"id: {event.id}")
        lines += [f"data: {line}" for line in event.data.split("\n")]
        lines.append("")
    return "".join(line + end for line in lines).encode()


def parsed(octets: bytes, cuts: list[int]) -> list[Event]:
    parser, events = Parser(), []
    places = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        events += parser.feed(octets[start:stop])
    return events


@given(EVENTS, ENDS, st.lists(st.integers(0, 10**6), max_size=30), st.booleans(), st.booleans())
def test_events_survive_any_cut(
    events: list[Event], end: str, cuts: list[int], comments: bool, bom: bool
) -> None:
    octets = written(events, end, comments=comments)
    assert parsed(b"\xef\xbb\xbf" * bom + octets, cuts) == events


@given(EVENTS, st.sampled_from(["\n", "\r\n"]), st.integers(0, 10**6))
def test_a_stream_that_ends_anywhere_gives_the_events_that_were_whole(
    events: list[Event], end: str, cut: int
) -> None:
    octets = written(events, end)
    whole = parsed(octets[: cut % (len(octets) + 1)], [])
    assert whole == events[: len(whole)]


@given(st.binary(max_size=200), st.lists(st.integers(0, 10**6), max_size=10))
def test_rubbish_gives_the_same_however_it_is_cut(octets: bytes, cuts: list[int]) -> None:
    # One octet at a time is the reference: there every line end is seen by itself.
    assert parsed(octets, cuts) == parsed(octets, list(range(len(octets))))


def test_what_the_standard_says_of_single_lines() -> None:
    events = Parser().feed(b"data\n\nid: a\0b\ndata:  two\nretry: 10\nfoo: bar\n\nid: 7\n\n")
    assert events == [Event("message", "", None), Event("message", " two", None)]


def test_an_event_without_data_is_seen_by_its_name() -> None:
    assert Parser().feed(b"event: reset\n\n") == [Event("reset", "", None)]


def test_an_event_that_never_ends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    for piece in (b"data: x\n", b"data"):
        parser = Parser()
        with pytest.raises(ValueError, match="longer"):
            [parser.feed(piece) for _ in range(300)]
