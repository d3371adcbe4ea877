"""Strict application/x-www-form-urlencoded and HTTP Basic, as RFC 6749 wants them read."""

from base64 import b64decode
from binascii import Error as BadBase64

from identity.errors import InvalidClient, InvalidRequest

MEDIA_TYPE = b"application/x-www-form-urlencoded"
MAX_FIELDS = 64

_PERCENT = ord("%")
"""As an octet it is looked for in a fifth of the time that b"%" takes."""
_HEX = b"0123456789abcdefABCDEF"
_DECODED = {
    bytes((high, low)): bytes.fromhex(chr(high) + chr(low)) for high in _HEX for low in _HEX
}


class _Malformed(Exception):
    pass


def require_form(content_type: bytes | None) -> None:
    """Raises InvalidRequest unless a body of this Content-Type is a UTF-8 form."""
    if content_type == MEDIA_TYPE:
        return
    media_type, _, parameters = (content_type or b"").partition(b";")
    if media_type.strip().lower() != MEDIA_TYPE:
        raise InvalidRequest("the Content-Type must be application/x-www-form-urlencoded")
    for parameter in parameters.split(b";"):
        name, _, value = parameter.partition(b"=")
        if name.strip().lower() == b"charset" and value.strip(b' "').lower() not in (
            b"utf-8",
            b"utf8",
            b"us-ascii",
        ):
            raise InvalidRequest("the form must be encoded in UTF-8")


def parse_form(body: bytes, repeatable: frozenset[str] = frozenset()) -> dict[str, str]:
    """Name to value of every parameter that has one.

    A parameter without a value counts as omitted (RFC 6749 §3.1), and one that comes twice is
    refused (§3.2), as are wrong percent-encoding, what is not UTF-8, and NUL: InvalidRequest.
    The values of one that is `repeatable` are one text, with spaces between (RFC 8707 §2).
    """
    if not body:
        return {}
    if body.count(b"&") >= MAX_FIELDS:  # before anything is made of them
        raise InvalidRequest(f"the form has more than {MAX_FIELDS} parameters")
    try:
        text = body.decode()
        if "\0" in text or ("%" in text and "%00" in text):
            raise InvalidRequest("the form contains a NUL character")
        if "%" in text:
            pairs = [_decoded_pair(pair) for pair in body.split(b"&")]
        else:
            pairs = [pair.split("=", 1) for pair in text.replace("+", " ").split("&")]
        form = dict(pairs)
    except UnicodeDecodeError:
        raise InvalidRequest("the form is not valid UTF-8") from None
    except ValueError:  # a name without "="
        pairs = [_decoded_pair(pair) for pair in body.split(b"&")]
        form = dict(pairs)
    if len(form) != len(pairs):
        _refuse_repeated(pairs, repeatable)
        form |= _joined(pairs)
    return form if all(form.values()) else {name: value for name, value in form.items() if value}


def parse_pairs(body: bytes, most: int = MAX_FIELDS) -> list[tuple[str, str]]:
    """Every parameter that has a value, in order, for whoever allows some of them to repeat.
    InvalidRequest as `parse_form`, but for repetitions."""
    if not body:
        return []
    if body.count(b"&") >= most:
        raise InvalidRequest(f"the form has more than {most} parameters")
    decoded = [_decoded_pair(pair) for pair in body.split(b"&")]
    if any("\0" in name or "\0" in value for name, value in decoded):
        raise InvalidRequest("the form contains a NUL character")
    return [(name, value) for name, value in decoded if value]


def parse_basic(header: bytes) -> tuple[str, str]:
    """(client_id, client_secret) of an Authorization header of scheme Basic.

    Both parts are form-encoded before they are joined (RFC 6749 §2.3.1). Raises InvalidClient.
    """
    scheme, _, credentials = header.partition(b" ")
    try:
        if scheme.lower() != b"basic":
            raise _Malformed
        user, colon, password = b64decode(credentials.strip(b" "), validate=True).partition(b":")
        client_id, secret = _decoded(user), _decoded(password)
        if not colon or not client_id or "\0" in client_id + secret:
            raise _Malformed
    except (_Malformed, BadBase64, InvalidRequest):
        raise InvalidClient(
            "the Authorization header does not hold well-formed Basic credentials"
        ) from None
    return client_id, secret


def _joined(pairs: list[list[str]]) -> dict[str, str]:
    """Each different value of a name once; no value is none."""
    values: dict[str, dict[str, None]] = {}
    for name, value in pairs:
        if value:
            values.setdefault(name, {})[value] = None
    return {name: " ".join(each) for name, each in values.items()}


def _refuse_repeated(pairs: list[list[str]], repeatable: frozenset[str]) -> None:
    seen: set[str] = set()
    for name, value in pairs:
        if name in seen and name not in repeatable:
            raise InvalidRequest(f"the parameter {_named(name)} is repeated")
        if name or value:  # "a=1&&&b=2" repeats nothing
            seen.add(name)


def _decoded_pair(pair: bytes) -> list[str]:
    name, _, value = pair.partition(b"=")
    return [_decoded(name), _decoded(value)]


def _decoded(text: bytes) -> str:
    try:
        if _PERCENT not in text:
            return text.replace(b"+", b" ").decode()
        head, *rest = text.replace(b"+", b" ").split(b"%")
        pieces = [head]
        for piece in rest:
            pieces += (_DECODED[piece[:2]], piece[2:])
        return b"".join(pieces).decode()
    except (KeyError, UnicodeDecodeError):
        raise InvalidRequest("the form is not valid percent-encoded UTF-8") from None


def _named(name: str) -> str:
    """`name` for an error_description: printable ASCII of bounded length (RFC 6749 §5.2)."""
    return "".join(c if "!" <= c <= "~" else "?" for c in name[:40])
