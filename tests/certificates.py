"""Who has certificates for clients made, and how requests come with them behind a proxy."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from identity.clock import utcnow
from identity.verifier.certificates import header_of, thumbprint
from identity.verifier.gate.algorithms import ALGORITHMS

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
DAY = timedelta(days=1)


def name_of(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(text)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key; `chain`: who issued it, below the root."""

    certificate: x509.Certificate
    key: Any
    chain: tuple["Issued", ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def x5t(self) -> str:
        return thumbprint(self.der)

    @property
    def secret(self) -> bytes:
        return bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def headers(self) -> dict[str, str]:
        """As a proxy says it (RFC 9440)."""
        said = {"client-cert": header_of(self.der)}
        if self.chain:
            said["client-cert-chain"] = ", ".join(header_of(each.der) for each in self.chain)
        return said

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """Files of the certificate, its chain behind it, and of its key."""
        pem, key = folder / f"{name}.pem", folder / f"{name}.key"
        pem.write_bytes(self.pem + b"".join(each.pem for each in self.chain))
        key.write_bytes(self.secret)
        return str(pem), str(key)


class Authority:
    """One that issues certificates to clients. `below`: of which other; None: of none."""

    def __init__(self, name: str = "CN=Clients' authority", below: "Authority | None" = None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name_of(name)
        builder = _builder(self.name, below.name if below else self.name, self.key.public_key())
        made = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS, critical=True)
            .sign(below.key if below else self.key, hashes.SHA256())
        )
        self.own = Issued(made, self.key)
        self._chain = (self.own, *below._chain) if below else ()

    def issue(
        self,
        name: str = "CN=shop,O=Example",
        *names: x509.GeneralName,
        usage: Sequence[x509.ObjectIdentifier] = (CLIENT,),
        begins: timedelta = -DAY,
        ends: timedelta = DAY,
        key: Any = None,
        critical: bool = False,
    ) -> Issued:
        """`names`: alternative ones. `usage`: extended; none leaves it out. `critical`: it says
        something beside that nobody knows, and everybody must."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name_of(name), self.name, key.public_key(), begins, ends)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if critical:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.1.1"), b"\5\0")
            builder = builder.add_extension(unknown, critical=True)
        return Issued(builder.sign(self.key, hashes.SHA256()), key, self._chain)


def by_itself(
    name: str = "CN=shop", *, begins: timedelta = -DAY, ends: timedelta = DAY, key: Any = None
) -> Issued:
    """A certificate that its own key has signed."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    by = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    named = name_of(name)
    return Issued(_builder(named, named, key.public_key(), begins, ends).sign(key, by), key)


def jwk(issued: Issued, alg: str = "ES256", *, whole: bool) -> dict[str, Any]:
    """Its key as a client registers it; `whole`: with the certificate."""
    key = dict(ALGORITHMS[alg].jwk(issued.key.public_key()))
    return {**key, "x5c": [base64.b64encode(issued.der).decode()]} if whole else key


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: Any,
    begins: timedelta = -DAY,
    ends: timedelta = DAY,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utcnow() + begins)
        .not_valid_after(utcnow() + ends)
    )


_SIGNS = x509.KeyUsage(
    digital_signature=False, key_cert_sign=True, crl_sign=True,
    content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
