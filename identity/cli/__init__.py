"""The `identity` command: what an operator does, on the database of the settings in force.

Commands act through the same functions as the HTTP API, whether or not the service runs; what
they change is audited and seen by every running process at once. Each command imports what it
needs when it runs, so that `--help` and `serve` do not pay for the others.
"""

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
    except Exception as error:
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


def main() -> NoReturn:
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # libraries' advice to programmers, not to operators
    sys.exit(run(sys.argv[1:]))
