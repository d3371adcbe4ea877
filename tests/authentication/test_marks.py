"""A mark is of one request, in one browser, for an hour; nobody makes one but us."""

from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from identity import clock
from identity.authentication.marks import LIFE, Mark, Marks, digest_of
from identity.keys.master import MasterKey

REQUEST = digest_of([("client_id", "shop"), ("state", "a")])


@pytest.fixture
def hand() -> Iterator[clock.Frozen]:
    with clock.frozen() as hand:
        yield hand


def marks(*keys: str) -> Marks:
    return Marks(MasterKey(keys, "a test"))


def test_what_was_sealed_is_read_for_an_hour(hand: clock.Frozen) -> None:
    ours = marks(make_key())
    sealed = ours.seal(Mark(clock.now()).with_done("chosen"), REQUEST, "br")
    hand.tick(LIFE - 1)
    opened = ours.open(sealed, REQUEST, "br")
    assert opened is not None and opened.done == {"chosen"}
    assert opened.first_seen == pytest.approx(clock.now() - LIFE + 1, abs=0.001)
    hand.tick(2)
    assert ours.open(sealed, REQUEST, "br") is None


def test_a_mark_is_nothing_elsewhere(hand: clock.Frozen) -> None:
    key = make_key()
    ours, sealed = marks(key), marks(key).seal(Mark(clock.now()), REQUEST, "br")
    assert ours.open(sealed, REQUEST, "br")
    assert ours.open(sealed, digest_of([("client_id", "shop"), ("state", "b")]), "br") is None
    assert ours.open(sealed, REQUEST, "another") is None
    assert ours.open(sealed, REQUEST, None) is None
    assert marks(make_key()).open(sealed, REQUEST, "br") is None
    assert marks(make_key(), key).open(sealed, REQUEST, "br")  # the master key was rotated


def test_nothing_of_a_mark_can_be_changed(hand: clock.Frozen) -> None:
    ours = marks(make_key())
    sealed = ours.seal(Mark(clock.now()), REQUEST, "br")
    seen, done, seal = sealed.split(".")
    for forged in (
        f"{int(seen, 16) + 1:x}.{done}.{seal}", f"{seen}.chosen.{seal}", f"0{seen}.{done}.{seal}",
        f"{seen}.{done}.{seal[:-1]}", f"{seen}.{done}.{seal}A", f"{seen}.{done}.", "", "..",
        sealed.upper(), sealed + " ",
    ):  # fmt: skip
        assert ours.open(forged, REQUEST, "br") is None, forged


def test_the_digest_of_a_request_tells_names_from_values_but_not_their_order() -> None:
    assert digest_of([("a", "b"), ("c", "d")]) == digest_of([("c", "d"), ("a", "b")])
    different = [[("a", "bc")], [("ab", "c")], [("a", "b"), ("c", "")], [("a", "b"), ("a", "c")]]
    assert len({digest_of(each) for each in different}) == len(different)


def make_key() -> str:
    return Fernet.generate_key().decode()
