"""Passwords and passphrases: typed without echo, read from a pipe, or made up. Never in argv,
where every process of the machine can read them."""

import sys
from pathlib import Path

import typer

ALPHABET = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
LENGTH = 20
"""Of made-up passwords: 116 random bits, without letters and digits that look alike."""


def new_password(*, from_stdin: bool, generate: bool) -> tuple[str, bool]:
    """(password, whether it was made up). A usage mistake where there is no way to ask."""
    if from_stdin and generate:
        raise typer.BadParameter("--password-stdin and --generate exclude each other")
    if generate:
        return made_up(), True
    if from_stdin:
        return read_line(), False
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal: use --password-stdin or --generate")
    return typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True), False


def made_up() -> str:
    from secrets import choice

    return "".join(choice(ALPHABET) for _ in range(LENGTH))


def read_line() -> str:
    """All of stdin, without the line break that `echo` adds."""
    try:
        return sys.stdin.buffer.read(65536).decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise typer.BadParameter("what came on stdin is not UTF-8") from None


def passphrase(file: Path | None, *, confirm: bool = False) -> bytes | None:
    """From the first line of `file`, else from the terminal; None where there is neither."""
    if file is not None:
        return file.read_bytes().split(b"\n", 1)[0].rstrip(b"\r")
    if not sys.stdin.isatty():
        return None
    text: str = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
    return text.encode()
