"""Forms with a file (multipart/form-data, RFC 7578), read as they come: the file is never whole in
memory, and never longer than the edge lets through."""

from collections.abc import AsyncIterator
from email.message import Message

from identity.errors import InvalidRequest

HEAD_LIMIT = 4_096
"""Octets of the lines before a part."""
FIELD_LIMIT = 4_096
MOST = 32
"""Parts."""
_LONGEST_BOUNDARY = 70


class Upload:
    """A form whose one file is read by `file`; the other fields are there once that has ended.
    Both raise `InvalidRequest` for what no browser sends."""

    def __init__(self, content_type: bytes | None, chunks: AsyncIterator[bytes]) -> None:
        said = Message()
        said["content-type"] = (content_type or b"").decode("latin-1").replace("\r", "")
        boundary = said.get_boundary("")
        if said.get_content_type() != "multipart/form-data":
            raise InvalidRequest("the Content-Type must be multipart/form-data")
        if not 0 < len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii():
            raise InvalidRequest("the form has no boundary between its parts")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._chunks = chunks
        self._buffer = b"\r\n"
        """What has come and not been read. The first delimiter has no line before it."""
        self.fields: dict[str, str] = {}
        self.filename = ""
        """As the browser calls the file; empty where none was chosen."""

    async def file(self) -> AsyncIterator[bytes]:
        """The content of the part `file`."""
        async for _before in self._until(self._delimiter):
            pass
        for _ in range(MOST):
            end = await self._take(2)
            if end == b"--":
                async for _behind in self._chunks:
                    pass
                return
            if end != b"\r\n":
                raise _broken()
            name, filename = await self._head()
            if name == "file" and filename is not None and not self.filename:
                self.filename = filename
                async for piece in self._until(self._delimiter):
                    yield piece
            else:
                self.fields[name] = await self._field()
        raise InvalidRequest("the form has too many fields")

    async def _head(self) -> tuple[str, str | None]:
        """The name of the part, and of its file if it is one."""
        head = b""
        async for piece in self._until(b"\r\n\r\n"):
            head += piece
            if len(head) > HEAD_LIMIT:
                raise _broken()
        try:
            lines = head.decode().split("\r\n")
        except UnicodeDecodeError:
            raise _broken() from None
        for line in lines:
            called, _, value = line.partition(":")
            if called.lower() == "content-disposition":
                said = Message()
                said["content-disposition"] = value.strip()
                name = said.get_param("name", None, "content-disposition")
                filename = said.get_param("filename", None, "content-disposition")
                if isinstance(name, str):
                    return name, filename if isinstance(filename, str) else None
        raise _broken()

    async def _field(self) -> str:
        value = b""
        async for piece in self._until(self._delimiter):
            value += piece
            if len(value) > FIELD_LIMIT:
                raise InvalidRequest("a field of the form is too long")
        try:
            text = value.decode()
        except UnicodeDecodeError:
            raise InvalidRequest("the form is not valid UTF-8") from None
        if "\0" in text:
            raise InvalidRequest("the form contains a NUL character")
        return text

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


def _broken() -> InvalidRequest:
    return InvalidRequest("the form is cut off, or is none")
