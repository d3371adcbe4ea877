"""Forms that bring files (`multipart/form-data`, RFC 7578), as browsers send them.

Strict, for whatever else comes was not made by a form of ours: a delimiter is a whole line, every
part names its field, and nothing stands before the first part or behind the last. The body is in
memory already, and bounded (`messages.BODY_LIMIT`).
"""

import re
from typing import Final, NamedTuple

from identity.errors import InvalidRequest

MEDIA_TYPE: Final = b"multipart/form-data"
MOST: Final = 64
"""Parts of a form."""
LONGEST_HEAD: Final = 2_000
"""Bytes of what a part says of itself."""
_BOUNDARY = re.compile(
    rb'multipart/form-data *; *boundary=("?)([0-9A-Za-z\'()+_,./:=?-]{1,70})\1', re.I
)
_DISPOSITION = re.compile(
    rb'content-disposition: *form-data; *name="([^"\r\n]*)"(?:; *filename="([^"\r\n]*)")?', re.I
)


class Part(NamedTuple):
    name: str
    data: bytes
    is_file: bool


def is_upload(content_type: bytes | None) -> bool:
    return (content_type or b"").partition(b";")[0].strip().lower() == MEDIA_TYPE


def parse_upload(content_type: bytes, body: bytes) -> list[Part]:
    """In order. Raises InvalidRequest."""
    found = _BOUNDARY.fullmatch(content_type.strip())
    if found is None:
        raise InvalidRequest("the form does not say where its parts end")
    delimiter = b"\r\n--" + found[2]
    first, *pieces = (b"\r\n" + body).split(delimiter)
    if first or not pieces or pieces.pop() not in (b"--", b"--\r\n"):
        raise InvalidRequest("the form is not whole")
    if len(pieces) > MOST:
        raise InvalidRequest(f"the form has more than {MOST} parts")
    return [_part(piece) for piece in pieces]


def _part(piece: bytes) -> Part:
    head, end, data = piece.partition(b"\r\n\r\n")
    if not end or not head.startswith(b"\r\n") or len(head) > LONGEST_HEAD:
        raise InvalidRequest("a part of the form is malformed")
    named = [m for line in head[2:].split(b"\r\n") if (m := _DISPOSITION.fullmatch(line.strip()))]
    if len(named) != 1:
        raise InvalidRequest("a part of the form has no name")
    try:
        name = named[0][1].decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not valid UTF-8") from None
    return Part(name, data, named[0][2] is not None)


def text_pairs(parts: list[Part]) -> list[tuple[str, str]]:
    """Name and value of what is no file, as `forms.parse_pairs` has them. Raises InvalidRequest."""
    try:
        pairs = [(part.name, part.data.decode()) for part in parts if not part.is_file]
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not valid UTF-8") from None
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise InvalidRequest("the form contains a NUL character")
    return [(name, value) for name, value in pairs if value]
