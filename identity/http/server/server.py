"""One serving process: start, sweep, and stop so that nobody who was being served notices."""

import asyncio
import contextlib
import gc
import math
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, cast

import structlog
import uvloop
from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import Server as Uvicorn

from identity.http.server.sockets import Sockets, hold
from identity.http.wire.eager import Beginner
from identity.http.wire.lifespan import Lifespan, StartRefused
from identity.http.wire.protocol import LimitedProtocol, Limits
from identity.http.wire.shares import Shares, SharingProtocol
from identity.records import logs
from identity.settings import ServerSettings, Settings, SettingsError

FINISH_WITHIN = 5  # seconds for what is in flight, then it is cancelled
STOP_WITHIN = 7.5  # seconds for that and for the application's own shutdown
BACKLOG = 2048

Factory = Callable[[Settings], ASGIApp]

_log = structlog.get_logger()


class Server(Uvicorn):
    """uvicorn's server, which sweeps its connections and survives the signal that stops it.

    `ready` is called once requests are accepted. `lifeline`: a pipe's read end; when its other
    end is gone, so is whoever started this process, and it stops. `drain`: seconds for which it
    serves on after the signal.
    """

    def __init__(
        self,
        config: Config,
        ready: Callable[[], object],
        lifeline: int | None,
        drain: float = 0.0,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._lifeline = lifeline
        self._drain = drain
        self._until = math.inf

    async def startup(self, sockets: Sockets | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._orphaned)
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        if counter % 5 == 0:
            for connection in [*self.server_state.connections]:
                if isinstance(connection, LimitedProtocol) and (
                    connection.deadline <= now or connection.unread_until <= now
                ):
                    connection.late(now)
        asked = await super().on_tick(counter)
        lifespan = cast(Lifespan, self.lifespan)
        if lifespan.given_up:
            return True
        if asked and not lifespan.leaving.is_set():
            lifespan.leaving.set()
            self._until = now + self._drain
        return asked and (self.force_exit or now >= self._until)

    async def shutdown(self, sockets: Sockets | None = None) -> None:
        lifespan = cast(Lifespan, self.lifespan)
        lifespan.leaving.set()
        lifespan.stopping.set()
        try:
            await asyncio.wait_for(super().shutdown(sockets), STOP_WITHIN)
        except TimeoutError:
            _log.error("the application did not shut down in time")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours are in place since before the application was made, and no signal is raised again:
        a process that was asked to stop and did has succeeded.
        """
        yield

    def _orphaned(self) -> None:
        assert self._lifeline is not None
        asyncio.get_running_loop().remove_reader(self._lifeline)
        _log.warning("the parent process is gone")
        self._drain, self._until = 0.0, 0.0  # its successor wants the port
        self.should_exit = True


def serve(
    settings: Settings,
    factory: Factory,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    limits: Limits | None = None,
    answers: Callable[[], object] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0 stopped as asked, 1 could not start.

    What is not given comes from `settings`. Each process makes its application by `factory`.
    `answers` is called once, in this process, when the service does.
    """
    logs.configure(settings.logs)
    host = settings.server.host if host is None else host
    port = settings.server.port if port is None else port
    workers = workers or settings.server.workers
    _raise_file_limit()
    try:
        held = hold(host, port, shared=workers > 1)
    except OSError as error:
        return refuse(
            f"cannot listen on {host}:{port} (IDENTITY_HOST, IDENTITY_PORT): "
            f"{error.strerror or error}"
        )
    limits = limits or Limits(connections=settings.server.max_connections)
    run = partial(run_process, settings, factory, limits)
    if workers == 1:
        return run(held, answers)
    from identity.http.server.workers import Workers

    return Workers(run, held, workers, settings.server.drain.total_seconds(), answers).run()


def run_process(
    settings: Settings,
    factory: Factory,
    limits: Limits,
    sockets: Sockets,
    ready: Callable[[], object] | None = None,
    lifeline: int | None = None,
) -> int:
    """Serve on `sockets` in this process; the exit code."""
    config = configured(limits, settings.server)
    drain = settings.server.drain.total_seconds()
    server = Server(config, partial(_opened, sockets, ready), lifeline, drain)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    try:
        config.app = factory(settings)
        config.load()
        config.lifespan_class = cast(Any, Lifespan)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve(sockets))
    except (SettingsError, StartRefused) as error:
        return refuse(str(error))
    except Exception:
        _log.exception("cannot start")
        return 1
    finally:
        logs.flush()
    lifespan = cast(Lifespan, server.lifespan)
    return 1 if lifespan.given_up or lifespan.failure is not None else 0


def _opened(sockets: Sockets, ready: Callable[[], object] | None) -> None:
    host, port = sockets[0].getsockname()[:2]
    _log.info("serving", address=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    gc.collect()
    gc.freeze()  # what is there now stays; do not look through it again and again
    if ready is not None:
        ready()


def refuse(why: str) -> int:
    """One clear line and the exit code of a start that was refused."""
    sys.stderr.write(f"identity: {why}\n")
    sys.stderr.flush()
    return 1


def configured(limits: Limits, settings: ServerSettings | None = None) -> Config:
    settings = settings or ServerSettings()
    plain = settings.http == "plain"
    protocol = "httptools" if plain else _own(limits, settings)
    return Config(
        app=_nowhere,
        loop="uvloop",
        http=cast(Any, protocol),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=int(limits.idle_seconds),
        # uvicorn counts the connection that asks, and refuses it at the limit.
        limit_concurrency=limits.connections + 1 if plain else None,
        timeout_graceful_shutdown=FINISH_WITHIN,
    )


def _own(limits: Limits, settings: ServerSettings) -> Any:
    most = limits.connections
    share = settings.max_connections_per_address or max(most // 2, min(most, 8))
    shares = Shares(share, settings.trusted_proxies)
    return partial(SharingProtocol, limits=limits, beginner=Beginner(), shares=shares)


async def _nowhere(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("the application has not been made")


def _raise_file_limit() -> None:
    """Each connection is a file, and the usual soft limit of 1,024 is older than the web."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
