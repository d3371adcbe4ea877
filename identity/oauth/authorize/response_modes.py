"""How an answer reaches the client. A response mode is one class and one line in the registry; all
of them are given the same parameters, so that none says less than another."""

import secrets
from base64 import b64encode
from collections.abc import Mapping
from typing import ClassVar, Protocol
from urllib.parse import urlencode

from identity.http.messages import Response
from identity.http.origins import see_other

Answer = Mapping[str, str]
"""The parameters of an answer: a code or an error, always `iss`, `state` if one came."""


class ResponseMode(Protocol):
    signed: ClassVar[bool]
    """Whether the parameters are one JWT, named `response` (JARM §2.3)."""

    def answer(self, redirect_uri: str, answer: Answer) -> Response: ...


class Query:
    """RFC 6749 §4.1.2."""

    signed: ClassVar[bool] = False

    def answer(self, redirect_uri: str, answer: Answer) -> Response:
        joint = "&" if "?" in redirect_uri else "?"
        return see_other(f"{redirect_uri}{joint}{urlencode(answer)}")


class FormPost:
    """A page that sends a form by itself, or by its button where scripts are off (OAuth 2.0 Form
    Post Response Mode §2). Nothing of the answer stands in an address."""

    signed: ClassVar[bool] = False

    def answer(self, redirect_uri: str, answer: Answer) -> Response:
        from html import escape  # with names for 2,231 characters, which nobody else asks for

        nonce = b64encode(secrets.token_bytes(16)).decode()
        fields = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
            for name, value in answer.items()
        )
        page = _PAGE.format(action=escape(redirect_uri), fields=fields, nonce=nonce)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"same-origin"),
        ]
        return Response(200, headers, page.encode())


class SignedQuery(Query):
    signed: ClassVar[bool] = True


class SignedFormPost(FormPost):
    signed: ClassVar[bool] = True


_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Continue</title></head>
<body>
<form method="post" action="{action}">{fields}<noscript><button>Continue</button></noscript></form>
<script nonce="{nonce}">document.forms[0].submit()</script>
</body>
</html>
"""

RESPONSE_MODES: Mapping[str, ResponseMode] = {
    "query": Query(),
    "form_post": FormPost(),
    "jwt": SignedQuery(),
    "query.jwt": SignedQuery(),
    "form_post.jwt": SignedFormPost(),
}
