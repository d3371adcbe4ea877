"""A microservice that has no secret: its platform says which program it is (RFC 7523).

A Kubernetes cluster writes a token for it into a file, and replaces it before it expires.
"""

import json
import os
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")
TOKEN_FILE = Path(os.environ.get("TOKEN_FILE", "/var/run/secrets/tokens/identity"))


def access_token(scope: str) -> dict[str, Any]:
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_id": "report",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        # Read each time: it is another one before long.
        "client_assertion": TOKEN_FILE.read_text().strip(),
    }
    data = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"{ISSUER}/token", data, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


if __name__ == "__main__":
    print(f"A token for {access_token('introspect')['expires_in']} seconds")
