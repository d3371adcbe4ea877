"""What Keycloak, Auth0 and Firebase export, read as they write it.

Each function below makes of one of their users the record that a CSV row would be, and of its
hash the text that `hashes.recognising` knows. `ValidationFailed` where it cannot.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from identity.errors import ValidationFailed

Members = Mapping[str, Any]

_PBKDF2 = {"pbkdf2": ("pbkdf2", 20), "pbkdf2-sha256": ("pbkdf2-sha256", 32),
           "pbkdf2-sha512": ("pbkdf2-sha512", 64)}  # fmt: skip
"""Keycloak's name → ours, and the octets that count: it derives 64 of each, of which the first
ones are what a shorter derivation gives."""
_KEYCLOAKS_OWN_ROLES = re.compile(r"default-roles-.*|offline_access|uma_authorization")
_CONFIG = re.compile(r"(\w+)\s*[:=]\s*\"?([\w+/=-]+)\"?")


def users_of(text: str) -> Iterator[tuple[int, object]]:
    """(line, member) of the list `users` in a JSON object. `ValidationFailed` where it is none.

    One at a time: of a realm of a million users, all at once would take gigabytes.
    """
    decoder = json.JSONDecoder()
    try:
        at, line, counted, found = _expect(text, 0, "{"), 1, 0, False
        while not text.startswith("}", at):
            key, at = decoder.raw_decode(text, at)
            at = _expect(text, at, ":")
            if key == "users" and text.startswith("[", at):
                at, found = _blank(text, at + 1), True
                while not text.startswith("]", at):
                    line, counted = line + text.count("\n", counted, at), at
                    member, at = decoder.raw_decode(text, at)
                    yield line, member
                    at = _separator(text, at, "]")
                at = _blank(text, at + 1)
            else:
                _, at = decoder.raw_decode(text, at)
            at = _separator(text, at, "}")
        if not found:
            raise json.JSONDecodeError("there is none", text, at)
    except json.JSONDecodeError as error:
        words = f"is no JSON object with a list of users (line {error.lineno}: {error.msg})"
        raise ValidationFailed([("/file", f"the file {words}")]) from None
    except ValueError:  # of more digits than Python reads
        words = "the file has a number that is too long"
        raise ValidationFailed([("/file", words)]) from None
    except RecursionError:
        raise ValidationFailed([("/file", "the file is nested too deeply")]) from None


def keycloak(user: Members) -> dict[str, Any] | None:
    """None for the account of a client, which is no user here."""
    if user.get("serviceAccountClientId"):
        return None
    roles = user.get("realmRoles")
    names = (user.get("firstName"), user.get("lastName"))
    record: dict[str, Any] = {
        "username": user.get("username"),
        "email": user.get("email"),
        "email_verified": user.get("emailVerified"),
        "name": " ".join(name for name in names if isinstance(name, str) and name),
        "given_name": names[0] if isinstance(names[0], str) else None,
        "family_name": names[1] if isinstance(names[1], str) else None,
        "status": "disabled" if user.get("enabled") is False else None,
        "roles": [r for r in roles if not _KEYCLOAKS_OWN_ROLES.fullmatch(str(r))]
        if isinstance(roles, list)
        else None,
        "must_change": "UPDATE_PASSWORD" in (user.get("requiredActions") or ()),
    }
    credentials = user.get("credentials") or ()
    passwords = [c for c in credentials if isinstance(c, dict) and c.get("type") == "password"]
    if passwords:
        record["password_hash"] = _keycloak_hash(passwords[0])
        record["must_change"] |= passwords[0].get("temporary") is True
    return record


def auth0(user: Members) -> dict[str, Any]:
    """Of the export that Auth0's support makes with the hashes, and of the one without them."""
    return {
        "username": user.get("username") or user.get("email") or user.get("phone_number"),
        "email": user.get("email"),
        "email_verified": user.get("email_verified"),
        "name": user.get("name"),
        "given_name": user.get("given_name"),
        "family_name": user.get("family_name"),
        "status": "disabled" if user.get("blocked") is True else None,
        "password_hash": user.get("passwordHash") or user.get("password_hash"),
    }


def firebase(user: Members, parameters: str | None) -> dict[str, Any]:
    """`parameters`: what `firebase_parameters` made of the project's own."""
    record = {
        "username": user.get("email") or user.get("phoneNumber") or user.get("localId"),
        "email": user.get("email"),
        "email_verified": user.get("emailVerified"),
        "name": user.get("displayName"),
        "status": "disabled" if user.get("disabled") is True else None,
    }
    if user.get("passwordHash"):
        if parameters is None:
            words = "is Firebase's scrypt, which needs the project's parameters: --hash-config FILE"
            raise ValidationFailed([("/password_hash", words)])
        salt, made = (_plain64(user.get(name)) for name in ("salt", "passwordHash"))
        record["password_hash"] = f"{parameters}${salt}${made}"
    return record


def firebase_parameters(file: Path) -> str:
    """The beginning of a stored hash, from the `hash_config` that Firebase's console shows."""
    found = dict(_CONFIG.findall(file.read_text("utf-8", "replace")))
    if found.get("algorithm", "SCRYPT") != "SCRYPT":
        words = f"{file}: the algorithm {found['algorithm']} is not supported, only SCRYPT"
        raise ValidationFailed([("/hash_config", words)])
    try:
        cost, rounds = int(found["mem_cost"]), int(found["rounds"])
        separator, key = found["base64_salt_separator"], found["base64_signer_key"]
    except (KeyError, ValueError):
        words = "needs base64_signer_key, base64_salt_separator, rounds and mem_cost"
        raise ValidationFailed([("/hash_config", f"{file}: {words}")]) from None
    return f"$fbscrypt$v=1,n={cost},r={rounds},p=1,ss={_plain64(separator)},sk={_plain64(key)}"


def _keycloak_hash(credential: Members) -> str:
    """Since version 8 in two JSON texts, before that beside each other."""
    try:
        if "secretData" in credential:
            secret, data = (json.loads(credential[name]) for name in
                            ("secretData", "credentialData"))  # fmt: skip
        else:
            secret = {"value": credential["hashedSaltedValue"], "salt": credential["salt"]}
            data = credential
        algorithm, rounds = data["algorithm"], int(data["hashIterations"])
        salt, made = (b64decode(secret[name], validate=True) for name in ("salt", "value"))
        if algorithm == "argon2":
            return _argon2(data["additionalParameters"], rounds, salt, made)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError, RecursionError):
        raise ValidationFailed([("/password_hash", "is Keycloak's, but damaged")]) from None
    if algorithm not in _PBKDF2:
        words = f"is Keycloak's {str(algorithm)[:40]!a}: known, but not supported"
        raise ValidationFailed([("/password_hash", words)])
    name, length = _PBKDF2[algorithm]
    return f"${name}${rounds}${_adapted(salt)}${_adapted(made[:length])}"


def _argon2(parameters: Members, passes: int, salt: bytes, made: bytes) -> str:
    """Every parameter is a list of one text."""
    kind, memory, lanes = (parameters[name][0] for name in ("type", "memory", "parallelism"))
    version = {"1.0": 16, "1.3": 19}[parameters["version"][0]]
    costs = f"m={int(memory)},t={passes},p={int(lanes)}"
    texts = (b64encode(part).decode().rstrip("=") for part in (salt, made))
    return f"$argon2{kind}$v={version}${costs}${'$'.join(texts)}"


def _adapted(octets: bytes) -> str:
    """base64 as passlib's pbkdf2 hashes have it."""
    return b64encode(octets).decode().rstrip("=").replace("+", ".")


def _plain64(text: object) -> str:
    """Some exports have the alphabet that is safe in addresses."""
    return text.replace("-", "+").replace("_", "/") if isinstance(text, str) else ""


_SPACE = re.compile(r"[ \t\r\n]*")


def _blank(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def _expect(text: str, at: int, character: str) -> int:
    at = _blank(text, at)
    if not text.startswith(character, at):
        raise json.JSONDecodeError(f"expected {character}", text, at)
    return _blank(text, at + 1)


def _separator(text: str, at: int, end: str) -> int:
    """Behind a comma, or at the end."""
    at = _blank(text, at)
    return at if text.startswith(end, at) else _expect(text, at, ",")
