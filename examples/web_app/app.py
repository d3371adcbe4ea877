"""A web app whose people sign in with Identity: Starlette, Authlib, a session cookie of its own.

CLIENT_SECRET=cs_… uvicorn --app-dir examples/web_app --port 8002 app:app
"""

import os
from html import escape
from urllib.parse import urlencode

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.routing import Route

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")

oauth = OAuth()
oauth.register(
    "identity",
    client_id=os.environ.get("CLIENT_ID", "web-app"),
    client_secret=os.environ["CLIENT_SECRET"],
    server_metadata_url=f"{ISSUER}/.well-known/openid-configuration",
    client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
)


async def home(request: Request) -> HTMLResponse:
    user = request.session.get("user")
    if user is None:
        return HTMLResponse('<p id="who">Nobody</p><a href="/sign-in">Sign in</a>')
    return HTMLResponse(
        f'<p id="who">{escape(user.get("name") or user["sub"])}</p>'
        '<form method="post" action="/sign-out"><button>Sign out</button></form>'
    )


async def sign_in(request: Request) -> RedirectResponse:
    """State, nonce and PKCE verifier wait in the session until the person is back."""
    answer: RedirectResponse = await oauth.identity.authorize_redirect(
        request, request.url_for("signed_in")
    )
    return answer


async def signed_in(request: Request) -> HTMLResponse | RedirectResponse:
    """Authlib checks `state`, `iss`, the ID token's signature, audience, times and nonce."""
    try:
        tokens = await oauth.identity.authorize_access_token(request)
    except OAuthError as refused:
        return HTMLResponse(f"<p id='who'>Not signed in: {escape(refused.error)}</p>", 400)
    told = await oauth.identity.userinfo(token=tokens)
    request.session.clear()  # nothing of before the sign-in lives on
    request.session["user"] = {"sub": told["sub"], "name": told.get("name")}
    request.session["id_token"] = tokens["id_token"]
    return RedirectResponse("/", 303)


async def sign_out(request: Request) -> RedirectResponse:
    """Here first, then at Identity, which leads back."""
    hint = request.session.pop("id_token", None)
    request.session.clear()
    metadata = await oauth.identity.load_server_metadata()
    asked = {"client_id": oauth.identity.client_id}
    asked["post_logout_redirect_uri"] = str(request.url_for("home"))
    if hint is not None:
        asked["id_token_hint"] = hint
    return RedirectResponse(f"{metadata['end_session_endpoint']}?{urlencode(asked)}", 303)


app = Starlette(
    routes=[
        Route("/", home),
        Route("/sign-in", sign_in),
        Route("/signed-in", signed_in),
        Route("/sign-out", sign_out, methods=["POST"]),
    ],
    # `https_only=True` and a secret that is kept, wherever this is more than an example.
    middleware=[
        Middleware(SessionMiddleware, secret_key=os.urandom(32).hex(), session_cookie="web-app")
    ],
)
