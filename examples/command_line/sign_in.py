"""A tool at a terminal that signs its user in with the browser of the same machine (RFC 8252).

python sign_in.py
"""

import base64
import hashlib
import json
import os
import secrets
import urllib.parse
import urllib.request
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")
CLIENT_ID = os.environ.get("CLIENT_ID", "command-line")


def ask(address: str, form: dict[str, str] | None = None, token: str | None = None) -> Any:
    """The JSON behind an address; with a form it is posted."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    data = urllib.parse.urlencode(form).encode() if form else None
    request = urllib.request.Request(address, data, headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


class Callback(BaseHTTPRequestHandler):
    """Where the browser comes back to; it is asked once."""

    answer: dict[str, str]

    def do_GET(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        if parts.path != "/callback":
            self.send_error(404)
            return
        type(self).answer = dict(urllib.parse.parse_qsl(parts.query))
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Done</title><p>You can close this window.")

    def log_message(self, *_: object) -> None: ...


def sign_in() -> dict[str, Any]:
    """The tokens of whoever signs in at the browser."""
    metadata = ask(f"{ISSUER}/.well-known/openid-configuration")
    verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    # Whichever port is free: of a loopback address the port alone may differ.
    listening = HTTPServer(("127.0.0.1", 0), Callback)
    redirect_uri = f"http://127.0.0.1:{listening.server_port}/callback"
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": redirect_uri,
        "scope": "openid profile offline_access",
        "state": state,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    address = f"{metadata['authorization_endpoint']}?{urllib.parse.urlencode(asked)}"
    print(f"Sign in with your browser:\n{address}", flush=True)
    webbrowser.open(address)
    while not hasattr(Callback, "answer"):
        listening.handle_request()
    answer = Callback.answer
    if answer.get("state") != state or answer.get("iss") != metadata["issuer"]:
        raise SystemExit("this answer is to another question")
    if "code" not in answer:
        raise SystemExit(f"not signed in: {answer.get('error')}")
    tokens: dict[str, Any] = ask(
        metadata["token_endpoint"],
        {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": answer["code"],
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        },
    )
    return tokens


if __name__ == "__main__":
    tokens = sign_in()
    told = ask(f"{ISSUER}/userinfo", token=tokens["access_token"])
    print(f"Hello {told['name']}")
