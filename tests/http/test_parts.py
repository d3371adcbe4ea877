"""Forms that bring files, held against what another library sends and a third one reads."""

import email
from email.policy import HTTP

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from identity.errors import InvalidRequest
from identity.http.parts import is_upload, parse_upload, text_pairs

names = st.text(st.characters(min_codepoint=32, codec="utf-8", exclude_characters='"\\%\x7f'),
                min_size=1, max_size=20)  # fmt: skip
"""As browsers leave them: what they escape in a name is no name of a field of ours."""
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)


def sent(fields: dict[str, str], files: dict[str, bytes]) -> tuple[bytes, bytes]:
    given_files = {name: ("a.png", data, "image/png") for name, data in files.items()}
    request = httpx.Request("POST", "http://x/", data=fields, files=given_files)
    return request.headers["content-type"].encode(), request.read()


@settings(max_examples=40)
@given(
    fields=st.dictionaries(names, texts, max_size=4),
    files=st.dictionaries(names, st.binary(max_size=300), min_size=1, max_size=2),
)
def test_what_another_library_sends_is_read(
    fields: dict[str, str], files: dict[str, bytes]
) -> None:
    media, body = sent(fields, files)
    assert is_upload(media)
    parts = parse_upload(media, body)
    assert {p.name: p.data for p in parts if p.is_file} == files
    assert dict(text_pairs(parts)) == {name: value for name, value in fields.items() if value}
    whole = email.message_from_bytes(b"content-type: " + media + b"\r\n\r\n" + body, policy=HTTP)
    assert len(list(whole.iter_parts())) == len(parts)


@given(st.binary(max_size=400), st.sampled_from([b"x", b"----1", b'"q"', b"", b"a b"]))
def test_whatever_comes_is_read_or_refused(body: bytes, boundary: bytes) -> None:
    for shaped in (body, b"--" + boundary + b"\r\n" + body + b"\r\n--" + boundary + b"--\r\n"):
        try:
            parts = parse_upload(b"multipart/form-data; boundary=" + boundary, shaped)
        except InvalidRequest:
            continue
        assert all(isinstance(part.data, bytes) for part in parts)


def body(*parts: str, end: str = "--b--\r\n") -> bytes:
    return ("".join(f"--b\r\n{part}\r\n" for part in parts) + end).encode()


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        body(end=""),
        body('content-disposition: form-data; name="a"\r\n\r\n1', end=""),
        body("content-type: text/plain\r\n\r\n1"),
        body('content-disposition: form-data; name="a"\r\n1'),
        body('content-disposition: attachment; name="a"\r\n\r\n1'),
        body(*['content-disposition: form-data; name="a"\r\n\r\n1'] * 65),
        b"before " + body('content-disposition: form-data; name="a"\r\n\r\n1'),
        body('content-disposition: form-data; name="a"\r\n\r\n1') + b"behind",
        body('content-disposition: form-data; name="a"' + " " * 3000 + "\r\n\r\n1"),
    ],
)
def test_what_no_form_sends_is_refused(wrong: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_upload(b"multipart/form-data; boundary=b", wrong)


@pytest.mark.parametrize("media", [b"multipart/form-data", b"multipart/form-data; boundary=",
                                   b"multipart/form-data; boundary=" + b"x" * 71])  # fmt: skip
def test_a_form_says_where_its_parts_end(media: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_upload(media, body('content-disposition: form-data; name="a"\r\n\r\n1'))


def test_a_nul_is_refused() -> None:
    parts = parse_upload(
        b"multipart/form-data; boundary=b",
        body('content-disposition: form-data; name="a"\r\n\r\n\0'),
    )
    with pytest.raises(InvalidRequest):
        text_pairs(parts)
