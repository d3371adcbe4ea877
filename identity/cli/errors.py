"""What went wrong, as one line for whoever typed the command."""

import os
import traceback

import typer

_NO_SUCH = ("no such table", "no such column", "has no column named")
_NO_DATABASE = ("file is not a database", "disk image is malformed")
"""SQLite, of another file, and of a broken one."""
_PREDICATES = ("may ", "must ", "is ", "has ", "cannot ", "goes ", "takes ")
_KINDS = ("Input ", "Tuple ", "List ", "Dictionary ", "String ")
"""How what pydantic says of a value begins."""
_UNDEFINED = ("42P01", "42703")  # PostgreSQL: undefined table, undefined column


def explain(error: BaseException) -> tuple[int, str]:
    """(exit code, line); an empty line says nothing."""
    if isinstance(error, typer.Abort):
        return 130, ""
    if isinstance(error, typer.TyperException):
        return error.exit_code, _usage(error)
    from identity.errors import IdentityError, Unavailable
    from identity.settings import SettingsError
    from identity.store.histories import Unfit

    if isinstance(error, Unfit):
        return 1, f"identity: IDENTITY_DATABASE_URL: {error.audit}"
    if isinstance(error, Unavailable) and error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, SettingsError):
        return 1, f"identity: {error}"
    if isinstance(error, IdentityError):
        return 1, f"identity: {_refusal(error)}"
    if isinstance(error, OSError):
        return 1, f"identity: {file_trouble(error)}"
    return 1, _database(error) or _driver(error) or _unexpected(error)


def file_trouble(error: OSError) -> str:
    why = error.strerror or str(error)
    return f"{error.filename}: {why}" if error.filename else why


def _usage(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    words = error.format_message().rstrip(".")
    if context is None:
        return f"identity: {words}"
    return f"identity: {words}; see `{context.command_path} --help`"


def _refusal(error: Exception) -> str:
    """Validation errors are predicates of a field, or sentences of their own."""
    from identity.errors import IdentityError, ValidationFailed

    if isinstance(error, ValidationFailed):
        lines = []
        for pointer, text in error.errors:
            name = pointer.strip("/")
            if text.startswith(_PREDICATES):
                text = f"{name} {text}"
            elif text.startswith(_KINDS):
                text = f"{name}: {text}"
            lines.append(text.rstrip("."))
        return "; ".join(lines) or error.detail
    assert isinstance(error, IdentityError)
    return error.detail.rstrip(".")


def _database(error: BaseException) -> str | None:
    from sqlalchemy import exc

    if not isinstance(error, exc.SQLAlchemyError):
        return None
    original = getattr(error, "orig", None) or error
    first = (str(original).strip().splitlines() or [type(original).__name__])[0]
    if any(words in first for words in _NO_SUCH) or (
        getattr(original, "sqlstate", None) in _UNDEFINED
    ):
        return "identity: the database's schema is behind this version: run `identity migrate`"
    if "locked" in first:
        return "identity: the database is busy with another writer; try again"
    unreachable = isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)
    if unreachable or any(words in first for words in _NO_DATABASE):
        return f"identity: the database of IDENTITY_DATABASE_URL cannot be used: {first}"
    return None


def _driver(error: BaseException) -> str | None:
    """What psycopg says of a server that cannot be reached."""
    if not type(error).__module__.startswith("psycopg"):
        return None
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"identity: the database of IDENTITY_DATABASE_URL cannot be used: {first}"


def _unexpected(error: BaseException) -> str:
    """Not foreseen. Where it happened is for those who ask for it."""
    if os.environ.get("IDENTITY_LOG_LEVEL", "").lower() == "debug":
        return "".join(traceback.format_exception(error)).rstrip()
    first = (str(error).splitlines() or [""])[0][:300]
    hint = "IDENTITY_LOG_LEVEL=debug shows where"
    return f"identity: {type(error).__name__}: {first} ({hint})"
