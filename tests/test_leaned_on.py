"""What we lean on in libraries that do not promise it: private parts, and public ones whose inner
order matters to us. Whoever upgrades one finds here, in words, what is different and who minds."""

import ast
import asyncio
import inspect
import json
import tomllib
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec, module_from_spec
from typing import Any
from unittest import mock

import pytest
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import Match
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from identity.http.server import without_command
from identity.service.tables import TABLES
from identity.store import Stored
from tests.databases import ROOT
from tests.sources import nodes, trees

PINNED = "0.54.0"
OF_UVICORN = {
    "uvicorn.config": "Config",
    "uvicorn.protocols.http.flow_control": "FlowControl HIGH_WATER_LIMIT",
    "uvicorn.protocols.http.httptools_impl": "STATUS_LINE",
    "uvicorn.protocols.utils": "get_local_addr get_remote_addr",
    "uvicorn.server": "Server ServerState",
}
"""Module to names: all that identity/ takes of it."""


def parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_uvicorn_is_the_version_that_was_read() -> None:
    """Another one: read its server.py, config.py and protocols/http beside http/server and
    http/wire, let this page pass, run `make test test-real test-plain`, and pin that one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    server = project["optional-dependencies"]["server"]
    assert [each for each in server if each.startswith("uvicorn")] == [f"uvicorn=={PINNED}"]
    assert metadata.version("uvicorn") == PINNED


def test_whatever_is_taken_of_uvicorn_is_named_here() -> None:
    taken: dict[str, set[str]] = {}
    for path in trees():
        for node in nodes(path):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("uvicorn"):
                names = {alias.name for alias in node.names}
                taken.setdefault(node.module or "", set()).update(names)
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "uvicorn":
                taken.setdefault("", set()).add(node.attr)
    assert taken == {module: set(names.split()) for module, names in OF_UVICORN.items()}


def test_uvicorns_package_takes_of_its_command_what_ours_leaves_out() -> None:
    """`http.server.without_command`."""
    taken = {
        (node.module, alias.name)
        for node in ast.walk(ast.parse(inspect.getsource(uvicorn)))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    command = {(module, name) for module, name in taken if module == "uvicorn.main"}
    assert command == {("uvicorn.main", name) for name in without_command._NAMES}
    assert taken - command == {("uvicorn.config", "Config")}


def server_module() -> Any:
    """`uvicorn.server` as it comes, read anew: some libraries, once imported, put a method of
    theirs in the place of one of its own."""
    spec = find_spec("uvicorn.server")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_uvicorns_server_calls_what_ours_overrides_and_keeps_what_ours_reads() -> None:
    """`http.server.server.Server`."""
    comes = server_module()
    server = comes.Server(Config(app=lambda: None, log_config=None))
    for name, given in {
        "serve": ["sockets"], "startup": ["sockets"], "shutdown": ["sockets"],
        "on_tick": ["counter"], "handle_exit": ["sig", "frame"], "capture_signals": [],
    }.items():  # fmt: skip
        assert parameters(getattr(server, name)) == given, f"Server.{name} takes something else"
    assert (server.should_exit, server.force_exit) == (False, False)
    assert isinstance(server.server_state, comes.ServerState)
    assert not hasattr(server, "lifespan"), "Server.lifespan is made when it serves"


async def test_uvicorn_serves_in_the_order_that_ours_counts_on() -> None:
    """The lifespan is made of `Config.lifespan_class`, which `http.server` sets after `load`; the
    protocol of `http`, called with these words; each tick renews the `Date` of all answers;
    stopping calls each connection's `shutdown`, waits for it, then for the lifespan's."""
    said: list[str] = []

    class Lifespan:
        should_exit = False

        def __init__(self, config: Config) -> None:
            assert config.loaded_app is app
            self.state = {"of": "the lifespan"}

        async def startup(self) -> None:
            said.append("startup")

        async def shutdown(self) -> None:
            said.append("shutdown")

    class Protocol(asyncio.Protocol):
        def __init__(self, **given: Any) -> None:
            assert given.keys() == {"config", "server_state", "app_state", "_loop"}
            assert given["app_state"] == {"of": "the lifespan"}
            self.state: ServerState = given["server_state"]

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            said.append(f"from {get_remote_addr(transport)} to {get_local_addr(transport)}")
            assert [name for name, _ in self.state.default_headers] == [b"date"]
            self.state.connections.add(self)  # type: ignore[arg-type]
            transport.write(b"x")

        def shutdown(self) -> None:
            said.append("connection")
            self.state.connections.discard(self)  # type: ignore[arg-type]
            self.transport.close()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    config = Config(
        app=app, http=Protocol, lifespan="on", ws="none", host="127.0.0.1", port=0,
        log_config=None, server_header=False, proxy_headers=False,
    )  # fmt: skip
    config.load()
    config.lifespan_class = Lifespan  # type: ignore[assignment]
    server = uvicorn.Server(config)
    with mock.patch.object(server, "capture_signals", mock.MagicMock()):
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110
            await asyncio.sleep(0)
        host, port = server.servers[0].sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(host, port)
        assert await reader.readexactly(1) == b"x"
        own = writer.get_extra_info("sockname")
        assert said == ["startup", f"from {own} to {(host, port)}"]
        server.should_exit = True
        await serving
    writer.close()
    assert said[2:] == ["connection", "shutdown"]


def test_uvicorns_parts_that_our_protocol_is_made_of() -> None:
    """`http.wire.protocol` and `http.wire.cycle`."""
    state = ServerState()
    assert (state.total_requests, state.connections, state.tasks) == (0, set(), set())
    assert state.default_headers == []
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert {*range(100, 600)} <= STATUS_LINE.keys()
    transport = mock.Mock()
    flow = FlowControl(transport)
    assert HIGH_WATER_LIMIT == 64 * 1024
    for _ in range(2):
        flow.pause_reading()
    assert flow.read_paused
    assert transport.pause_reading.call_count == 1, "FlowControl pauses a transport that is paused"
    flow.resume_reading()
    assert (flow.read_paused, transport.resume_reading.call_count) == (False, 1)
    flow.pause_writing()
    assert flow.write_paused
    flow.resume_writing()
    assert not flow.write_paused
    assert inspect.iscoroutinefunction(flow.drain)


def test_fastapis_routes_say_what_they_take() -> None:
    """`api.bodies` reads `dependant` and `body_field`, and overrides `get_route_handler`."""

    def needed(deep: int = 0) -> int:
        return deep

    def handler(body: dict[str, int], near: int = Query(0, alias="n"), far: int = Depends(needed)):  # type: ignore[no-untyped-def]
        return body, near, far

    route = APIRoute("/x", handler, methods=["POST"])
    assert [field.alias for field in route.dependant.query_params] == ["n"]
    [dependency] = route.dependant.dependencies
    assert [field.alias for field in dependency.query_params] == ["deep"]
    assert route.body_field is not None
    assert APIRoute("/x", needed).body_field is None
    assert parameters(route.get_route_handler) == []


def test_fastapi_keeps_an_included_router_as_one_route() -> None:
    """`http.lane.methods_served` looks into `original_router`; were its routes among the app's
    again, it would find them there."""
    router, app = APIRouter(), FastAPI(openapi_url=None)
    router.add_api_route("/x", lambda: None, methods=["PUT"])
    app.include_router(router)
    [included] = app.routes
    inner = getattr(included, "original_router", None)
    assert inner is router, "an included router is kept in another way"
    scope = {"type": "http", "method": "GET", "path": "/x", "root_path": "", "headers": []}
    assert included.matches(scope)[0] is Match.PARTIAL
    assert [route.methods for route in inner.routes] == [{"PUT"}]  # type: ignore[attr-defined]


def test_starlettes_request_keeps_its_json_where_ours_does() -> None:
    """`api.bodies.JsonRequest` overrides `json`."""
    assert "self._json" in inspect.getsource(Request.json)


async def test_a_future_says_whether_somebody_waits_for_it() -> None:
    """`http.wire.eager` hands a task a future that another had begun to wait for."""
    future: Any = asyncio.get_running_loop().create_future()
    asked = future.__await__()
    assert next(asked) is future
    assert future._asyncio_future_blocking is True
    future._asyncio_future_blocking = False
    asked.close()


def test_jsons_decoder_scans_from_where_it_is_told() -> None:
    """`verifier.gate.encoding` calls what `raw_decode` calls."""
    scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
    assert scan('  {"a": 1} x', 2) == ({"a": 1}, 10)
    with pytest.raises(StopIteration):
        scan("x", 0)


def test_a_table_is_mapped_by_the_registry_that_its_class_names() -> None:
    """`store.types.Stored` gives each table `_sa_registry`; all share one `MetaData`."""
    registries = {table.__mapper__.registry for table in TABLES}  # type: ignore[attr-defined]
    assert len(registries) == len(TABLES)
    assert {registry.metadata for registry in registries} == {Stored.metadata}


def test_no_other_private_attribute_of_anybody_is_touched() -> None:
    """`_asdict` and `_replace` are a named tuple's own words, `_exit` is os's."""
    own = {"_asdict", "_replace", "_exit", "_asyncio_future_blocking", "_json", "_sa_registry"}
    touched: dict[str, str] = {}
    for path in trees():
        for node in nodes(path):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    own.add(name)
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    own.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):  # of a dataclass
                    own.add(name)
                case ast.Attribute(attr=name) if name.startswith("_") and name[1] != "_":
                    touched[name] = f"{path}: {ast.unparse(node)}"
    assert not [where for name, where in touched.items() if name not in own]
