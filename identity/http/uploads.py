"""Forms with a file (multipart/form-data, RFC 7578), read as they come: the file is never whole in
memory, and never longer than the edge lets through.

Strict, for whatever else comes was not made by a form of ours: every part names its field, one of
them is the file, and nothing stands before the first or behind the last.
"""

import re
from collections.abc import AsyncIterator
from typing import Final

from identity.errors import InvalidRequest

MEDIA_TYPE: Final = b"multipart/form-data"
HEAD_LIMIT: Final = 4_096
"""Octets of the lines before a part."""
FIELD_LIMIT: Final = 4_096
MOST: Final = 64
"""Parts."""
_BOUNDARY = re.compile(
    rb'multipart/form-data *; *boundary=("?)([0-9A-Za-z\'()+_,./:=?-]{1,70})\1', re.I
)
_DISPOSITION = re.compile(
    rb'content-disposition: *form-data; *name="([^"\r\n]*)"(?:; *filename="([^"\r\n]*)")?', re.I
)


def is_upload(content_type: bytes | None) -> bool:
    return (content_type or b"").partition(b";")[0].strip().lower() == MEDIA_TYPE


class Upload:
    """A form whose one file is read by `file`; the other fields are there once that has ended.

    Both raise `InvalidRequest` for what no browser sends.
    """

    def __init__(self, content_type: bytes | None, chunks: AsyncIterator[bytes]) -> None:
        found = _BOUNDARY.fullmatch((content_type or b"").strip())
        if found is None:
            raise InvalidRequest("the form does not say where its parts end")
        self._delimiter = b"\r\n--" + found[2]
        self._chunks = chunks
        self._buffer = b"\r\n"
        """What has come and not been read. The first delimiter has no line before it."""
        self.fields: list[tuple[str, str]] = []
        self.name = ""
        """Of the field that brings the file; empty where none does."""
        self.filename = ""
        """As the browser calls the file; empty where none was chosen."""

    async def file(self) -> AsyncIterator[bytes]:
        """The content of the part that is a file."""
        if await self._take(len(self._delimiter)) != self._delimiter:
            raise _broken()
        for _ in range(MOST):
            end = await self._take(2)
            if end == b"--":
                await self._nothing_more()
                return
            if end != b"\r\n":
                raise _broken()
            name, filename = await self._head()
            if filename is None:
                self.fields.append((name, await self._field()))
            elif self.name:
                raise InvalidRequest("the form has more than one file")
            else:
                self.name, self.filename = name, filename
                async for piece in self._until(self._delimiter):
                    yield piece
        raise InvalidRequest("the form has too many fields")

    async def _nothing_more(self) -> None:
        rest = self._buffer
        async for chunk in self._chunks:
            rest += chunk
            if len(rest) > len(b"\r\n"):
                break
        if rest not in (b"", b"\r\n"):
            raise _broken()

    async def _head(self) -> tuple[str, str | None]:
        """The name of the part, and of its file if it is one."""
        head = b""
        async for piece in self._until(b"\r\n\r\n"):
            head += piece
            if len(head) > HEAD_LIMIT:
                raise _broken()
        lines = head.split(b"\r\n")
        named = [found for line in lines if (found := _DISPOSITION.fullmatch(line.strip()))]
        if len(named) != 1 or not named[0][1]:
            raise InvalidRequest("a part of the form has no name")
        name, filename = named[0].groups()
        return _text(name), None if filename is None else _text(filename)

    async def _field(self) -> str:
        value = b""
        async for piece in self._until(self._delimiter):
            value += piece
            if len(value) > FIELD_LIMIT:
                raise InvalidRequest("a field of the form is too long")
        return _text(value)

    async def _until(self, end: bytes) -> AsyncIterator[bytes]:
        """What stands before `end`, which is passed over."""
        while (at := self._buffer.find(end)) < 0:
            safe = len(self._buffer) - len(end) + 1
            if safe > 0:
                yield self._buffer[:safe]
                self._buffer = self._buffer[safe:]
            await self._more()
        found, self._buffer = self._buffer[:at], self._buffer[at + len(end) :]
        if found:
            yield found

    async def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    async def _more(self) -> None:
        async for chunk in self._chunks:
            if chunk:
                self._buffer += chunk
                return
        raise _broken()


def _text(octets: bytes) -> str:
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not valid UTF-8") from None
    if "\0" in text:
        raise InvalidRequest("the form contains a NUL character")
    return text


def _broken() -> InvalidRequest:
    return InvalidRequest("the form is cut off, or is none")
