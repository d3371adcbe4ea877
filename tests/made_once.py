"""What is the same for every application of a process, and made once instead of for each test."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache, partial
from itertools import count
from operator import is_
from threading import Lock
from typing import Any
from unittest import mock

from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey
from sqlalchemy import Engine

from identity.settings import Settings
from identity.store import Database, engines


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


@contextmanager
def descriptions() -> Iterator[None]:
    """What FastAPI says in OpenAPI of the same routes, which are those of every application
    (`routes`). Each has a copy of its own."""
    from fastapi import applications
    from starlette.routing import Mount, Route

    describe = applications.get_openapi
    described: list[tuple[list[Any], dict[str, Any], Any]] = []

    def get_openapi(*, routes: Sequence[Any], **options: Any) -> Any:
        shown = [route for route in routes if type(route) not in (Route, Mount)]  # those have none
        for those, said, document in described:
            if said == options and len(those) == len(shown) and all(map(is_, those, shown)):
                return deepcopy(document)
        document = describe(routes=routes, **options)
        described.append((shown, deepcopy(options), deepcopy(document)))
        return document

    with mock.patch.object(applications, "get_openapi", get_openapi):
        yield


@contextmanager
def templates() -> Iterator[None]:
    """The code of a page is the same in every application that speaks its language; each runs it in
    an environment of its own."""
    from identity.pages.speaking import Spoken

    compile_template = Spoken.compile
    compiled: dict[tuple[Any, ...], Any] = {}

    def compile_once(self: Spoken, source: Any, name: Any = None, filename: Any = None) -> Any:
        if filename is None:  # no page, but what a test has written
            return compile_template(self, source, name)
        key = self.translate, source, name, filename
        if key not in compiled:
            compiled[key] = compile_template(self, source, name, filename)
        return compiled[key]

    with mock.patch.object(Spoken, "compile", compile_once):
        yield


@contextmanager
def commands() -> Iterator[None]:
    """Typer makes all commands with all their options for each that is run; they keep nothing of
    one run for the next."""
    from typer import main

    with mock.patch.object(main, "get_command", cache(main.get_command)):
        yield


@contextmanager
def starts(made: Callable[[Settings], bool]) -> Iterator[None]:
    """What a start finds to be there already is not looked for again where that start was `made`
    on the template of its database."""
    from identity import app
    from identity.service.bootstrap import SYSTEM, origin

    prepare = app.prepare_database

    def prepare_database(db: Database, settings: Settings) -> None:
        if made(settings):
            origin.set(SYSTEM)
        else:
            prepare(db, settings)

    with mock.patch.object(app, "prepare_database", prepare_database):
        yield


_GENERATE, _GENERATE_JWK = rsa.generate_private_key, RSAKey.binding.generate_private_key


@contextmanager
def nobody_elses() -> Iterator[None]:
    """RSA keys that no test is given: for what all tests have a copy of."""
    with (
        mock.patch.object(rsa, "generate_private_key", _GENERATE),
        mock.patch.object(RSAKey.binding, "generate_private_key", _GENERATE_JWK),
    ):
        yield


class RsaKeys:
    """An RSA key takes as long as several tests. Each test is given keys in the order in which it
    asks for them, no two alike; another test may have had them before it."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], list[rsa.RSAPrivateKey]] = {}
        self._given: dict[tuple[int, int], Iterator[int]] | None = None
        self._lock = Lock()

    @contextmanager
    def generated(self) -> Iterator[None]:
        theirs = partial(self._next, 65537)
        with (
            mock.patch.object(rsa, "generate_private_key", self._next),
            mock.patch.object(RSAKey.binding, "generate_private_key", theirs),
        ):
            yield

    @contextmanager
    def for_test(self) -> Iterator[None]:
        self._given = defaultdict(count)
        try:
            yield
        finally:
            self._given = None

    def _next(self, public_exponent: int, key_size: int, backend: Any = None) -> rsa.RSAPrivateKey:
        """Outside of a test, for fixtures that several share, nobody else's."""
        given, kind = self._given, (public_exponent, key_size)
        if given is None:
            return _GENERATE(public_exponent, key_size)
        with self._lock:
            made, number = self._made.setdefault(kind, []), next(given[kind])
            while len(made) <= number:
                made.append(_GENERATE(public_exponent, key_size))
            return made[number]
