"""Forms and Basic credentials: well-formed ones read as urllib reads them, the rest is refused."""

from base64 import b64encode
from collections.abc import Callable, Sized
from contextlib import suppress
from urllib.parse import parse_qsl, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.errors import InvalidClient, InvalidRequest
from identity.http.forms import parse_basic, parse_form, parse_pairs, require_form

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
forms = st.dictionaries(text.filter(bool), text, max_size=12)


@given(forms)
def test_a_well_formed_form_reads_as_urllib_reads_it(form: dict[str, str]) -> None:
    body = urlencode(form).encode()
    assert parse_form(body) == dict(parse_qsl(body.decode()))


@given(forms)
def test_raw_utf8_needs_no_percent_encoding(form: dict[str, str]) -> None:
    body = urlencode(form, safe="äöü€ ").replace(" ", "+").encode()
    assert parse_form(body) == {name: value for name, value in form.items() if value}


@given(st.binary(max_size=60) | st.text("a%=&+0fF", max_size=40).map(str.encode))
def test_any_bytes_are_a_form_or_an_invalid_request(body: bytes) -> None:
    try:
        form = parse_form(body)
    except InvalidRequest:
        return
    assert all(form.values())
    assert "\0" not in "".join(form) + "".join(form.values())
    assert form == dict(parse_qsl(body.decode(), errors="strict"))


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"", {}),
        (b"a=1&b=2", {"a": "1", "b": "2"}),
        (b"a=1&&&b=2&", {"a": "1", "b": "2"}),
        (b"scope=&grant_type=password", {"grant_type": "password"}),
        (b"scope", {}),
        (b"a=b=c%3Dd", {"a": "b=c=d"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=~b=", {"a": "~b="}),
        (b"a+b=c+%2B", {"a b": "c +"}),
        (b"%C3%A4=%e2%82%ac", {"ä": "€"}),
    ],
)
def test_forms_read_as_the_rfc_says(body: bytes, form: dict[str, str]) -> None:
    assert parse_form(body) == form


@given(forms)
def test_pairs_are_those_of_the_form_in_its_order(form: dict[str, str]) -> None:
    assert dict(parse_pairs(urlencode(form).encode())) == {n: v for n, v in form.items() if v}


def test_what_may_repeat_is_one_text_of_its_different_values() -> None:
    body = b"resource=a&x=1+2&resource=b&resource=a&resource=&state="
    assert parse_form(body, frozenset({"resource"})) == {"resource": "a b", "x": "1 2"}
    with pytest.raises(InvalidRequest, match="resource is repeated"):
        parse_form(body)
    with pytest.raises(InvalidRequest, match="x is repeated"):
        parse_form(body + b"&x=1+2", frozenset({"resource"}))


def test_pairs_may_repeat_and_those_without_a_value_are_left_out() -> None:
    body = b"resource=a&state=&resource=b&nonce&resource=a+%2B"
    assert parse_pairs(body) == [("resource", "a"), ("resource", "b"), ("resource", "a +")]
    assert parse_pairs(b"") == []


@pytest.mark.parametrize(
    "body",
    [
        b"scope=a&scope=b",
        b"scope=&scope=b",
        b"scope=a&=b&scope=c",
        b"scope=a&scope",
        b"scope=a&%73cope=a",
        b"scope&scope",
    ],
)
def test_a_repeated_parameter_is_refused_by_name(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="parameter scope is repeated"):
        parse_form(body)


def test_the_name_of_a_repeated_parameter_is_made_printable() -> None:
    name = quote_plus("\n\x1bä" + "x" * 100).encode()
    with pytest.raises(InvalidRequest) as refusal:
        parse_form(name + b"=1&" + name + b"=1")
    assert refusal.value.detail == "the parameter ???" + "x" * 37 + " is repeated"


def test_values_without_a_name_are_a_parameter_too_and_come_once() -> None:
    assert parse_form(b"=1&a=2") == {"": "1", "a": "2"}
    with pytest.raises(InvalidRequest, match="parameter  is repeated"):
        parse_form(b"=1&=2")


def test_every_printable_character_of_a_repeated_name_is_shown() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_form(b"!~=1&!~=1")
    assert refusal.value.detail == "the parameter !~ is repeated"
    with pytest.raises(InvalidRequest) as refusal:
        parse_form(b"a b\x7f=1&a b\x7f=1")
    assert refusal.value.detail == "the parameter a?b? is repeated"


@pytest.mark.parametrize(
    "body",
    [b"a=%", b"a=%4", b"a=%zz", b"a=% 1", b"a=%ff", b"a=\xff", b"a=%ED%A0%80", b"a=\0", b"%00=a"],
)
def test_malformed_encodings_are_refused(body: bytes) -> None:
    for parse in (parse_form, parse_pairs):
        with pytest.raises(InvalidRequest):
            parse(body)


@pytest.mark.parametrize("parse", [parse_form, parse_pairs])
def test_too_many_parameters_are_refused(parse: Callable[[bytes], Sized]) -> None:
    assert len(parse(b"&".join(b"p%d=1" % n for n in range(64)))) == 64
    with pytest.raises(InvalidRequest, match="more than 64"):
        parse(b"&".join(b"p%d=1" % n for n in range(65)))


@pytest.mark.parametrize("parse", [parse_form, parse_pairs])
def test_too_many_parameters_are_refused_before_any_is_read(
    parse: Callable[[bytes], Sized],
) -> None:
    """64 KiB of ampersands would take as long to read as a thousand requests."""
    with pytest.raises(InvalidRequest, match="more than 64"):
        parse(b"%zz&" * 64)


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/x-www-form-urlencoded",
        b"Application/X-WWW-Form-Urlencoded; charset=UTF-8",
        b'application/x-www-form-urlencoded;charset="utf-8"; boundary=x',
        b"application/x-www-form-urlencoded; charset=utf8",
        b"application/x-www-form-urlencoded; charset=US-ASCII",
    ],
)
def test_a_form_may_say_that_it_is_utf8(content_type: bytes) -> None:
    require_form(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        b"",
        b"application/json",
        b"multipart/form-data; boundary=x",
        b"application/x-www-form-urlencoded-not",
        b"application/x-www-form-urlencoded; charset=iso-8859-1",
        b"application/x-www-form-urlencoded; charset=~utf-8~",
    ],
)
def test_another_content_type_is_an_invalid_request(content_type: bytes | None) -> None:
    with pytest.raises(InvalidRequest):
        require_form(content_type)


def basic(text: bytes, scheme: bytes = b"Basic") -> bytes:
    return scheme + b" " + b64encode(text)


@given(text.filter(bool), text)
def test_basic_credentials_are_form_decoded(client_id: str, secret: str) -> None:
    header = basic(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode())
    assert parse_basic(header) == (client_id, secret)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(basic))
def test_any_authorization_header_is_credentials_or_invalid_client(header: bytes) -> None:
    with suppress(InvalidClient):
        client_id, _ = parse_basic(header)
        assert client_id


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Basic !!!!",
        b"Basic YTp",
        b"Basic YT*pi",
        b"Basic ~YTpi~",
        b"Bearer YTpi",
        basic(b"no-colon"),
        basic(b":secret-without-id"),
        basic(b"a:%zz"),
        basic(b"a:\xff"),
        basic(b"a:%00"),
    ],
)
def test_malformed_basic_credentials_are_an_invalid_client(header: bytes) -> None:
    with pytest.raises(InvalidClient):
        parse_basic(header)


def test_the_scheme_is_case_insensitive_and_an_empty_secret_is_left_to_the_caller() -> None:
    assert parse_basic(basic(b"a:", b"bAsIc")) == ("a", "")
    assert parse_basic(basic(b"a:b:c")) == ("a", "b:c")
