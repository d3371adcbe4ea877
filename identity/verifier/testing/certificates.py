"""A client that holds a certificate (RFC 8705), for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from identity.verifier.certificates import header_of, thumbprint


class ClientCertificate:
    """A new one, of its own making. `issuer.token(…, certificate=certificate)` is bound to it;
    `headers(token)` is what a proxy hands on that has seen it, `extension` what a server says."""

    def __init__(self, name: str = "client") -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import NameOID

        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        at = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(at - timedelta(days=1))
            .not_valid_after(at + timedelta(days=365))
            .sign(self.key, hashes.SHA256())
        )
        self.der = made.public_bytes(Encoding.DER)
        self.pem = made.public_bytes(Encoding.PEM).decode()
        self.x5t = thumbprint(self.der)

    def headers(self, token: str) -> dict[str, str]:
        """The headers of a request with `token`, as a trusted proxy hands it on."""
        return {"Authorization": f"Bearer {token}", "Client-Cert": header_of(self.der)}

    @property
    def extension(self) -> dict[str, Any]:
        """Of a scope's `extensions`, as a server fills it in that has ended TLS."""
        return {"tls": {"client_cert_chain": [self.pem], "client_cert_error": None}}
