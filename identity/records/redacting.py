"""Secrets kept out of everything that is logged."""

import re
from collections.abc import Mapping, MutableMapping
from datetime import datetime
from typing import Any

REDACTED = "[redacted]"
_SECRET_NAMES = frozenset(
    {
        "password", "token", "secret", "authorization", "cookie", "credentials", "assertion", "jwt",
        "code", "code_verifier", "device_code", "pem", "master_key", "private_key", "api_key",
    }
)  # fmt: skip
_SECRET_ENDINGS = ("password", "passwd", "_token", "_secret", "_assertion", "_hash")
_SECRET_TEXT = re.compile(
    r"""eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*             # a JWT
    | (?<![A-Za-z0-9])[a-z]{2,4}_(?=[a-z_-]*[A-Z0-9])[\w-]{20,}  # opaque.mint's, cut off or whole
    | \$(?:2[abxy]|argon2\w*|scrypt|pbkdf2[\w-]*|[156])\$[^\s"']+  # a password hash
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]*PRIVATE[ ]KEY-----|\Z)
    | (?<=[Bb]earer[ ])[^\s"',]+ | (?<=[Bb]asic[ ])[A-Za-z0-9+/=]{8,}
    | (?<=://)[^\s/@:]*:[^\s/@]*(?=@)                 # user:password in an address
    | (?<!\w)(?:(?:client_|new_|current_)?(?:password|secret)|(?:access_|refresh_|id_)?token
        |assertion|client_assertion|code|code_verifier)=[^\s&"']+""",
    re.VERBOSE | re.DOTALL,
)


def redacted_text(text: str) -> str:
    """`text` without whatever looks like a token, hash, key or credential."""
    return _SECRET_TEXT.sub(REDACTED, text)


def looks_secret(text: str) -> bool:
    return _SECRET_TEXT.search(text) is not None


def _is_secret(name: object) -> bool:
    lowered = str(name).lower()
    return lowered in _SECRET_NAMES or lowered.endswith(_SECRET_ENDINGS)


def _redacted(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return redacted_text(value)
    if value is None or isinstance(value, bool | int | float | datetime):
        return value
    if depth > 6:
        return REDACTED
    if isinstance(value, Mapping):
        return {
            str(key): REDACTED if _is_secret(key) and inner else _redacted(inner, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(inner, depth + 1) for inner in value]
    return redacted_text(str(value))


def redact(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The last processor before the renderer: what is named or looks like a secret is not said."""
    return {
        key: REDACTED if value and _is_secret(key) else _redacted(value)
        for key, value in event.items()
    }
