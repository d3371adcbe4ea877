"""`identity serve`, which runs for months and so does without what only other commands need.

Spelled as the documentation spells it, it is understood here; typer, which has every other
spelling, `--help` and all mistakes, is not even imported.
"""

import gc
from collections.abc import Sequence
from typing import Any

PORTS = (0, 65535)
WORKERS = (1, 64)
_NUMBERS = {"--port": PORTS, "--workers": WORKERS}


def plain(args: Sequence[str]) -> dict[str, Any] | None:
    """What `args` ask of `serve`; None where typer has to say."""
    if args[:1] != ["serve"] or len(args) % 2 == 0:
        return None
    given: dict[str, Any] = {}
    for name, value in zip(args[1::2], args[2::2], strict=True):
        if name == "--host" and value and not value.startswith("-"):
            given["host"] = value
        elif name in _NUMBERS and value.isascii() and value.isdigit() and len(value) < 6:
            least, most = _NUMBERS[name]
            if not least <= int(value) <= most:
                return None
            given[name.removeprefix("--")] = int(value)
        else:
            return None
    return given


def serve(given: dict[str, Any]) -> int:
    """Serve until told to stop; the exit code. `given` wins over the settings of these names."""
    import identity.records.logs  # noqa: F401 - first: it keeps structlog from bringing rich

    # Imports make much that stays and little that is garbage: to look for that as often as usual,
    # and once more through all of it, takes a tenth of the start.
    usual = gc.get_threshold()
    gc.set_threshold(10_000, 50, 1_000)
    from identity.app import create_app
    from identity.http.server import serve
    from identity.service.bootstrap import first_start, welcome
    from identity.settings import Settings
    from identity.store import migrating, servers

    gc.set_threshold(*usual)
    gc.freeze()
    settings = Settings.load(**given)
    servers.examine(settings)
    if not settings.production:
        migrating.upgrade(settings)
    first_start(settings)
    if settings.bootstrap.apply:
        from identity.cli.applying import at_start

        at_start.apply(settings)

    def greet() -> None:
        if words := welcome(settings):
            print(words, flush=True)

    return serve(settings, create_app, answers=greet)
