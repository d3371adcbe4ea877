"""A television that its viewer signs in with a telephone (RFC 8628).

python tv.py
"""

import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")
CLIENT_ID = os.environ.get("CLIENT_ID", "tv")
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


def ask(path: str, form: dict[str, str] | None = None, token: str | None = None) -> Any:
    """The JSON behind an address, that of a refusal too; with a form it is posted."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        request = urllib.request.Request(ISSUER + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        return json.load(refusal)


def sign_in() -> dict[str, Any]:
    """The tokens of whoever allows this device."""
    codes = ask("/device_authorization", {"client_id": CLIENT_ID, "scope": "openid profile"})
    print(f"Open {codes['verification_uri']}\nand type {codes['user_code']}", flush=True)
    pause = float(codes["interval"])
    while True:
        time.sleep(pause)
        answer: dict[str, Any] = ask(
            "/token",
            {
                "grant_type": DEVICE_CODE,
                "client_id": CLIENT_ID,
                "device_code": codes["device_code"],
            },
        )
        if "access_token" in answer:
            return answer
        if answer["error"] == "slow_down":
            pause += 5
        elif answer["error"] != "authorization_pending":
            raise SystemExit(f"not signed in: {answer['error']}")


if __name__ == "__main__":
    tokens = sign_in()
    print(f"Hello {ask('/userinfo', token=tokens['access_token'])['name']}")
