"""Changing the master key's file: each change replaces it as a whole."""

from collections.abc import Iterable
from pathlib import Path

from cryptography.fernet import Fernet

from identity.keys.master import MasterKey


def count(file: Path) -> int:
    return len(_keys(file))


def put_first(file: Path) -> None:
    """A new key encrypts from now on; the others still decrypt."""
    _write(file, [Fernet.generate_key().decode(), *_keys(file)])


def keep_newest(file: Path, secrets: Iterable[str]) -> None:
    """Only the first key stays. `SettingsError` where one of `secrets` would be lost by it."""
    newest = _keys(file)[0]
    alone = MasterKey([newest], f"{file}, without its old keys")
    for secret in secrets:
        alone.decrypt(secret)
    _write(file, [newest])


def _keys(file: Path) -> list[str]:
    lines = [line.strip() for line in file.read_text().splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _write(file: Path, keys: list[str]) -> None:
    from identity.store.new_files import new_file

    with new_file(file, replace=True) as draft:
        draft.write("".join(f"{key}\n" for key in keys).encode())
