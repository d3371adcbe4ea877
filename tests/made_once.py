"""What is the same for every application of a process, and made once instead of for each test."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from sqlalchemy import Engine

from identity.store import engines


@contextmanager
def statements() -> Iterator[None]:
    """Engines of one dialect share what SQLAlchemy has compiled; each of them would begin anew."""
    create = engines.create_engine
    first: dict[str, Engine] = {}

    def create_engine(*args: Any, **options: Any) -> Engine:
        engine = create(*args, **options)
        other = first.get(engine.dialect.name)
        if other is None or other.dialect.server_version_info is None:  # it has met no server yet
            other = first[engine.dialect.name] = engine
        engine.dialect, engine._compiled_cache = other.dialect, other._compiled_cache
        return engine

    with mock.patch.object(engines, "create_engine", create_engine):
        yield


@contextmanager
def routes() -> Iterator[None]:
    """FastAPI reads a handler's signature and makes its models once. The applications stay apart:
    a route knows none."""
    from fastapi import APIRouter, FastAPI

    include = FastAPI.include_router
    included: dict[int, tuple[APIRouter, list[Any]]] = {}

    def include_router(app: FastAPI, router: APIRouter, **options: Any) -> None:
        assert not options
        if id(router) not in included:
            before = len(app.router.routes)
            include(app, router)
            included[id(router)] = router, app.router.routes[before:]
        else:
            app.router.routes.extend(included[id(router)][1])

    with mock.patch.object(FastAPI, "include_router", include_router):
        yield
