"""Forms with a file, in whatever pieces they come; written by another's hand (httpx)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import InvalidRequest
from identity.http import uploads
from identity.http.uploads import Upload

BOUNDARY = "0123456789abcdef"
Read = tuple[dict[str, str], str, bytes]


def sent(content: bytes, name: str = "users.csv", **fields: str) -> tuple[bytes, bytes]:
    """The Content-Type and the body."""
    request = httpx.Request(
        "POST", "https://x", data=fields, files={"file": (name, content)},
        headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
    )  # fmt: skip
    return request.headers["content-type"].encode(), request.read()


def read(kind: bytes | None, body: bytes, *cuts: int) -> Read:
    """In pieces that end at `cuts`."""

    async def chunks() -> AsyncIterator[bytes]:
        before = 0
        for cut in [*sorted(cuts), len(body)]:
            yield body[before:cut]
            before = max(before, cut)

    async def whole() -> Read:
        upload, content = Upload(kind, chunks()), b""
        async for piece in upload.file():
            content += piece
        assert not upload.filename or upload.name == "file"
        return dict(upload.fields), upload.filename, content

    return asyncio.run(whole())


@given(
    st.lists(st.sampled_from([b"\r\n", b"--", BOUNDARY.encode()[:8], b"a", b"\n", b"\xff\x00"]))
    .map(b"".join),
    st.text("äb\"\\ .csv", max_size=12).filter(str.strip),
    st.lists(st.integers(0, 400), max_size=6),
)  # fmt: skip
def test_what_is_sent_arrives_however_it_is_cut(content: bytes, name: str, cuts: list[int]) -> None:
    kind, body = sent(content, name, act="look", format="ä")
    fields, filename, got = read(kind, body, *cuts)
    assert got == content and fields == {"act": "look", "format": "ä"}
    assert bool(filename) is bool(name)


def test_what_is_cut_off_is_refused_wherever_that_is() -> None:
    kind, body = sent(b"username\nada\n", act="look")
    for end in range(len(body) - len("--\r\n") + 1):
        with pytest.raises(InvalidRequest):
            read(kind, body[:end])
    assert read(kind, body[:-2])[2] == b"username\nada\n"


@pytest.mark.parametrize(
    "kind",
    [
        None, b"", b"application/x-www-form-urlencoded", b"multipart/form-data",
        b"multipart/form-data; boundary=", b"multipart/mixed; boundary=x",
        b"multipart/form-data; boundary=" + b"x" * 71, b"\xff\xfe; \r\n boundary=x",
    ],
)  # fmt: skip
def test_what_is_no_such_form_is_refused(kind: bytes | None) -> None:
    with pytest.raises(InvalidRequest):
        read(kind, sent(b"x")[1])


@pytest.mark.parametrize(
    "part",
    [
        b"\r\n\r\nx", b'Content-Disposition: form-data\r\n\r\nx', b"Content-Disposition:\r\n\r\n",
        b'Content-Disposition: form-data; name="\xff"\r\n\r\nx',
        b'Content-Disposition: form-data; name="a"\r\n\r\n\xff',
        b'Content-Disposition: form-data; name="a"\r\n\r\n\0',
        b'Content-Disposition: attachment; name="a"\r\n\r\nx',
        b'Content-Disposition: form-data; name=""\r\n\r\nx',
        b'Content-Disposition: form-data; name="a"\r\nx',
        b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 5000,
        b"X: " + b"y" * 5000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_parts_that_no_browser_sends_are_refused(part: bytes) -> None:
    between = f"--{BOUNDARY}".encode()
    body = between + b"\r\n" + part + b"\r\n" + between + b"--\r\n"
    with pytest.raises(InvalidRequest):
        read(sent(b"")[0], body)


def test_nothing_stands_before_the_first_part_or_behind_the_last() -> None:
    kind, body = sent(b"x")
    for wrong in (b"before" + body, b"\r\n" + body, body + b"behind", body + b"\r\n"):
        with pytest.raises(InvalidRequest):
            read(kind, wrong)


def test_a_form_brings_one_file() -> None:
    files = [("file", ("a.csv", b"1")), ("file", ("b.csv", b"2"))]
    request = httpx.Request("POST", "https://x", files=files)
    with pytest.raises(InvalidRequest, match="more than one file"):
        read(request.headers["content-type"].encode(), request.read())


@given(st.binary(max_size=400), st.sampled_from([b"x", b"----1", b'"q"', b"", b"a b"]))
def test_whatever_comes_is_read_or_refused(body: bytes, boundary: bytes) -> None:
    kind = b"multipart/form-data; boundary=" + boundary
    for shaped in (body, b"--" + boundary + b"\r\n" + body + b"\r\n--" + boundary + b"--\r\n"):
        with suppress(InvalidRequest):
            read(kind, shaped)


def test_a_form_has_no_more_parts_than_some() -> None:
    fields = {f"f{n}": "x" for n in range(uploads.MOST + 1)}
    with pytest.raises(InvalidRequest, match="too many"):
        read(*sent(b"", **fields))


def test_the_file_is_never_whole_in_memory() -> None:
    """Pieces leave as they come."""
    kind, body = sent(b"x" * 300_000)
    pieces = []

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1_000):
            yield body[start : start + 1_000]

    async def whole() -> None:
        async for piece in Upload(kind, chunks()).file():
            pieces.append(len(piece))

    asyncio.run(whole())
    assert sum(pieces) == 300_000 and max(pieces) <= 1_100
