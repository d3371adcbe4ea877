"""A software authenticator, by WebAuthn's text alone (§6.1, §6.5): it knows CBOR, a key and nothing
of the service, and lies where a test wants it to."""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from identity.authentication.passkeys import enrolling
from identity.directory.users import accounts
from identity.directory.users.table import User
from tests.world import World

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
ORIGIN = "http://localhost:8000"


def encoded(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """Holds one passkey once `make` has been asked for one."""

    origin: str = ORIGIN
    algorithm: int = -7
    synced: bool = True
    counts: bool = False
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    count: int = 0
    rp_id: str = ""
    user_handle: bytes = b""
    passkey_id: str = ""
    recovery_codes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._key: Any
        if self.algorithm == -7:
            self._key = ec.generate_private_key(ec.SECP256R1())
        elif self.algorithm == -8:
            self._key = ed25519.Ed25519PrivateKey.generate()
        else:
            self._key = rsa.generate_private_key(65537, 2048)

    def make(
        self, options: dict[str, Any], *, flags: int = UP | UV, rp_id: str | None = None,
        **client: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """What `navigator.credentials.create()` gives, as JSON. `client`: members of its client
        data in place of the right ones."""
        self.rp_id = options["rp"]["id"]
        self.user_handle = decoded(options["user"]["id"])
        wanted = [each["alg"] for each in options["pubKeyCredParams"]]
        assert self.algorithm in wanted
        data = self._data(flags | AT, rp_id) + bytes(16)
        data += len(self.credential_id).to_bytes(2) + self.credential_id + cbor2.dumps(self._cose())
        statement = {"fmt": "none", "attStmt": {}, "authData": data}
        response = {
            "clientDataJSON": encoded(self._client("webauthn.create", options, client)),
            "attestationObject": encoded(cbor2.dumps(statement)),
            "transports": ["internal", "hybrid"],
        }
        return self._credential(response)

    def sign(
        self, options: dict[str, Any], *, flags: int = UP | UV, rp_id: str | None = None,
        **client: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """What `navigator.credentials.get()` gives."""
        self.count += self.counts
        data = self._data(flags, rp_id)
        told = self._client("webauthn.get", options, client)
        response = {
            "clientDataJSON": encoded(told),
            "authenticatorData": encoded(data),
            "signature": encoded(self._sign(data + sha256(told).digest())),
            "userHandle": encoded(self.user_handle),
        }
        return self._credential(response)

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        id_ = encoded(self.credential_id)
        return {
            "id": id_, "rawId": id_, "type": "public-key", "response": response,
            "clientExtensionResults": {}, "authenticatorAttachment": "platform",
        }  # fmt: skip

    def _data(self, flags: int, rp_id: str | None) -> bytes:
        if self.synced:
            flags |= BE | BS
        about = sha256((rp_id or self.rp_id).encode()).digest()
        return about + bytes([flags]) + self.count.to_bytes(4)

    def _client(self, kind: str, options: dict[str, Any], changed: dict[str, Any]) -> bytes:
        told = {
            "type": kind, "challenge": options["challenge"], "origin": self.origin,
            "crossOrigin": False, **changed,
        }  # fmt: skip
        return json.dumps(told).encode()

    def _cose(self) -> dict[int, Any]:
        """RFC 9053 §7, RFC 8230 §4."""
        public = self._key.public_key()
        if self.algorithm == -7:
            numbers = public.public_numbers()
            x, y = numbers.x.to_bytes(32), numbers.y.to_bytes(32)
            return {1: 2, 3: -7, -1: 1, -2: x, -3: y}
        if self.algorithm == -8:
            return {1: 1, 3: -8, -1: 6, -2: public.public_bytes_raw()}
        numbers = public.public_numbers()
        return {1: 3, 3: -257, -1: numbers.n.to_bytes(256), -2: numbers.e.to_bytes(3)}

    def _sign(self, said: bytes) -> bytes:
        if self.algorithm == -7:
            signed: bytes = self._key.sign(said, ec.ECDSA(SHA256()))
        elif self.algorithm == -8:
            signed = self._key.sign(said)
        else:
            signed = self._key.sign(said, padding.PKCS1v15(), SHA256())
        return signed


async def given_passkey(
    world: World, user: User, authenticator: Authenticator | None = None, name: str = "Key"
) -> Authenticator:
    """As if the user had added it on the account page; it holds the recovery codes, if they are
    the first."""
    authenticator = authenticator or Authenticator()
    passkeys = world.services.passkeys
    with world.change() as session:
        options = enrolling.ask(passkeys, session, accounts.get(session, user.id))
    text = json.dumps(authenticator.make(options))
    made = await enrolling.made(passkeys, text, user.id)
    with world.change() as session:
        row = accounts.get(session, user.id, lock=True)
        passkey, codes = world.services.second_factor.add_passkey(session, row, made, name)
        authenticator.passkey_id, authenticator.recovery_codes = passkey.id, codes or []
    return authenticator


async def with_passkey(
    world: World, username: str = "ada", **fields: Any
) -> tuple[User, Authenticator]:
    user = world.user(username, **fields)
    return user, await given_passkey(world, user)


__all__ = [
    "ORIGIN",
    "UP",
    "UV",
    "Authenticator",
    "decoded",
    "encoded",
    "given_passkey",
    "with_passkey",
]
