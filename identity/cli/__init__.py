"""The `identity` command: what an operator does, on the database of the settings in force.

Commands act through the same functions as the HTTP API, whether or not the service runs; what
they change is audited and seen by every running process at once. Each command imports what it
needs when it runs, so that `--help` and `serve` do not pay for the others.
"""

import gc
import os
import sys
import warnings
from collections.abc import Sequence
from typing import NoReturn

from identity.cli import serving


def run(args: Sequence[str]) -> int:
    """Run one command; its exit code: 0, 1 refused, 2 usage, 130 interrupted.

    A mistake becomes one line on stderr, never a traceback.
    """
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. Nothing may complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as done:  # typer leaves so when it has completed a word for a shell
        return done.code if isinstance(done.code, int) else 1
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("identity"):
            print(_incomplete(error), file=sys.stderr)
            return 1
        from identity.cli.errors import explain

        code, words = explain(error)
        if words:
            print(words, file=sys.stderr)
        return code
    except KeyboardInterrupt:
        return 130
    return code if isinstance(code, int) else 0


def _run(args: Sequence[str]) -> object:
    given = serving.plain(args)
    if given is not None:
        return serving.serve(given)
    from identity.cli.commands import app

    return app(args=list(args), prog_name="identity", standalone_mode=False)


def _incomplete(error: ModuleNotFoundError) -> str:
    """Siblings install the verifier alone, and this command comes along with it."""
    from importlib.metadata import entry_points

    found = entry_points(group="console_scripts", name="identity")
    distribution = next((e.dist.name for e in found if e.dist is not None), "identity")
    return (
        f"identity: this is the verifier alone, without the service ({error.name} is missing): "
        f"pip install '{distribution}[server]'"
    )


def main() -> NoReturn:
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers, not to operators
    if sys.argv[1:2] != ["serve"]:
        gc.set_threshold(10_000, 50, 1_000)  # imports leave little garbage: do not look for it
    sys.exit(run(sys.argv[1:]))
