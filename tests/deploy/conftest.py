from functools import cache

import pytest

from scripts import docs

_service = cache(docs.service)


@pytest.fixture
def addresses() -> set[str]:
    """Every address of the service."""
    return set(_service().openapi["paths"])


@pytest.fixture
def metrics() -> str:
    """What `/metrics` of a new service says."""
    return _service().metrics
