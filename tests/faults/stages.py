"""What the trials of `make faults` are held on: real servers, as a test's fixtures have them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.replicas import Replicas
from tests.trials.row import Place


@contextmanager
def started(database: str, place: Place, count: int, **changed: str) -> Iterator[Replicas]:
    """`count` servers on a database of their own."""
    url = place.templates.fresh(database, place.folder)
    try:
        replicas = Replicas(url, place.folder, count, **changed)
        try:
            yield replicas
        finally:
            replicas.close()
    finally:
        place.templates.discard(url)


@contextmanager
def pair(database: str, place: Place) -> Iterator[Replicas]:
    with started(database, place, 2) as replicas:
        yield replicas
