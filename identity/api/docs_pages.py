"""`/docs` and `/redoc`, which show the OpenAPI document, and `/docs/oauth2-redirect`, where signing
in by a code comes back to `/docs` (decision 73).

Each page is written once. Its policy lets its own script run by digest, and no other inline one:
at `/docs` there are tokens. They are kept for as long as it is open: Swagger UI's
`persistAuthorization` would leave the password in the browser.
"""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse

from identity.directory.clients.built_in import OWN_PAGE

FILES = "/static-offline-docs"
_POLICY = (  # their scripts and styles are served by the service itself
    "default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; worker-src blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_NOTHING_ELSE = (
    "default-src 'none'; script-src {scripts}; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

BACK = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Signing in at the API's description</title></head>
<body>
<p id="words">This page hands what comes of signing in over to the page /docs that has opened it.
There is nothing to do here: close it.</p>
<script>
'use strict';
// Out of the address, before anything else: nobody is to copy a code from it for somebody who asks.
const answer = new URLSearchParams(location.search);
history.replaceState(null, '', location.pathname);
let asked = null;
try { asked = window.opener && window.opener.swaggerUIRedirectOauth2; } catch { /* a stranger's */ }
const say = (message) =>
    asked.errCb({authId: asked.auth.name, source: 'auth', level: 'error', message});
if (asked) {
    if (!asked.state || answer.get('state') !== asked.state) {
        say('The answer is not the one to what was asked: try again.');
    } else if (!answer.get('code')) {
        const why = [answer.get('error'), answer.get('error_description')].filter(Boolean);
        say(why.join(': ') || 'There is no code in the answer.');
    } else {
        delete asked.state;
        asked.auth.code = answer.get('code');
        asked.callback({auth: asked.auth, redirectUrl: asked.redirectUrl});
    }
    window.close();
}
</script>
</body>
</html>
"""
"""Swagger UI's own takes a code that comes with another `state`, and leaves it in the address."""


def add(app: FastAPI, base: str, client_id: str | None) -> None:
    """`base`: the issuer's path, below which they lie. `client_id`: by which `/docs` signs people
    in, None where they have to name one."""
    files, title = f"{base}{FILES}", app.title
    document, icon = f"{base}{app.openapi_url}", f"{files}/favicon.png"
    signing_in: dict[str, Any] = {"usePkceWithAuthorizationCodeGrant": True}
    if client_id is not None:
        signing_in["clientId"] = client_id
    swagger = get_swagger_ui_html(
        openapi_url=document, title=f"{title} - Swagger UI", swagger_favicon_url=icon,
        swagger_js_url=f"{files}/swagger-ui-bundle.js", swagger_css_url=f"{files}/swagger-ui.css",
        oauth2_redirect_url=f"{base}{OWN_PAGE}", init_oauth=signing_in,
    )  # fmt: skip
    redoc = get_redoc_html(
        openapi_url=document, title=f"{title} - ReDoc", redoc_favicon_url=icon,
        redoc_js_url=f"{files}/redoc.standalone.js", with_google_fonts=False,
    )  # fmt: skip
    for path, text, policy in (
        ("/docs", bytes(swagger.body).decode(), _POLICY),
        ("/redoc", bytes(redoc.body).decode(), _POLICY),
        (OWN_PAGE, BACK, _NOTHING_ELSE),
    ):
        _add(app, path, text, policy)


def _add(app: FastAPI, path: str, text: str, policy: str) -> None:
    own = [f"'sha256-{_digest(script)}'" for script in _INLINE.findall(text)]
    scripts = " ".join(own if policy is _NOTHING_ELSE else ["'self'", *own])
    headers = {"content-security-policy": policy.format(scripts=scripts)}

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(text, headers=headers)

    app.add_route(path, page, include_in_schema=False)


def _digest(script: str) -> str:
    return b64encode(sha256(script.encode()).digest()).decode()
