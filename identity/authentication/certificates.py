"""Clients and their certificates (RFC 8705), as the proxy in front of us says them (RFC 9440).

The proxy has ended TLS, and seen that the client holds the certificate's key. Its word counts where
`IDENTITY_CERTIFICATE_PROXIES` names it; from anybody else the headers say nothing. Whose
certificate it is, and whether that is good, is judged here, whatever the proxy has looked at.
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from identity.authentication.foreign import Refused
from identity.authentication.key_sets import KeySets, Source
from identity.clock import now
from identity.directory.clients import subject_names
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import InvalidRequest
from identity.http.messages import Request
from identity.http.proxies import MAY_NAME_CERTIFICATES
from identity.settings import Settings
from identity.verifier.certificates import (
    CHAIN_HEADER,
    HEADER,
    read,
    read_chain,
    thumbprint,
)

if TYPE_CHECKING:
    from cryptography import x509

LONGEST_CHAIN: Final = 4
"""Authorities between a certificate and one that is trusted."""


class Certificate:
    """What a client has proved to hold: a certificate, and whatever it sent along to show who
    issued it."""

    def __init__(self, der: bytes, chain: list[bytes]) -> None:
        self.der = der
        self.x5t = thumbprint(der)
        self._chain = chain

    @cached_property
    def parsed(self) -> "x509.Certificate":
        """ValueError where it is none."""
        from cryptography import x509  # only who brings certificates needs it

        return x509.load_der_x509_certificate(self.der)

    @property
    def issuers(self) -> "list[x509.Certificate]":
        from cryptography import x509

        return [x509.load_der_x509_certificate(der) for der in self._chain]


class Certificates:
    def __init__(self, settings: Settings, keys: KeySets) -> None:
        self._keys = keys
        self._file = settings.certificates.certificate_ca
        self._pem = self._file.read_bytes() if self._file is not None else None
        self._by_method = {
            "tls_client_auth": self._by_name,
            "self_signed_tls_client_auth": self._by_registration,
        }
        self.methods = methods(settings)

    @staticmethod
    def of(request: Request) -> Certificate | None:
        """The one that came with a request. Raises `InvalidRequest` where a proxy says nonsense."""
        if not request.scope.get(MAY_NAME_CERTIFICATES):
            return None
        value, chain = request.header(HEADER), request.header(CHAIN_HEADER)
        if value is None:
            return None
        try:
            certificate = Certificate(read(value), read_chain(chain) if chain is not None else [])
            certificate.parsed  # noqa: B018 - what is none is not to be bound to
        except ValueError as problem:
            raise InvalidRequest(f"Client-Cert: {problem}") from None
        return certificate

    async def prove(self, client: ClientSnapshot, request: Request) -> None:
        """That the request comes from the client, by the method that is registered for it, which
        is one of `methods`. Raises `Refused`, `InvalidRequest`."""
        method = client.settings.token_endpoint_auth_method or ""
        if method not in self.methods:
            raise Refused(f"{method} is not set up here")
        certificate = self.of(request)
        if certificate is None:
            raise Refused("no certificate came along")
        try:
            await self._by_method[method](client, certificate)
        except ValueError as problem:  # of parts that are read when they are looked at
            raise Refused("the certificate cannot be read", str(problem)) from None

    async def _by_name(self, client: ClientSnapshot, certificate: Certificate) -> None:
        """RFC 8705 §2.1: one that a trusted authority has given to this name."""
        if not subject_names.fits(client.settings, certificate.parsed):
            raise Refused("the certificate names another subject", _shown(certificate))
        self._check_issuers(certificate)

    def _check_issuers(self, certificate: Certificate) -> None:
        from cryptography.x509 import verification

        policy = self._policy.time(datetime.fromtimestamp(now(), UTC))
        try:
            policy.build_client_verifier().verify(certificate.parsed, certificate.issuers)
        except verification.VerificationError as problem:
            raise Refused("no authority that is trusted vouches for the certificate",
                          str(problem)) from None  # fmt: skip

    @cached_property
    def _policy(self) -> Any:
        """Who may vouch, and for what: authorities as the Web's have to be, certificates that say
        that they are for clients. Names are looked at by `subject_names`."""
        from cryptography import x509
        from cryptography.x509 import verification
        from cryptography.x509.verification import Criticality, ExtensionPolicy

        anyhow = Criticality.AGNOSTIC
        of_clients = ExtensionPolicy.permit_all().require_present(
            x509.ExtendedKeyUsage, anyhow, _for_clients
        )
        return (
            verification.PolicyBuilder()
            .store(verification.Store(x509.load_pem_x509_certificates(self._pem or b"")))
            .max_chain_depth(LONGEST_CHAIN)
            .extension_policies(
                ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=of_clients
            )
        )

    async def _by_registration(self, client: ClientSnapshot, certificate: Certificate) -> None:
        """RFC 8705 §2.2: one that the client has registered, or whose key it has."""
        parsed = certificate.parsed
        moment = datetime.fromtimestamp(now(), UTC)
        if not parsed.not_valid_before_utc <= moment <= parsed.not_valid_after_utc:
            raise Refused("the certificate is expired, or not yet good", _shown(certificate))
        settings = client.settings
        source = Source(client.id, settings.jwks, settings.jwks_uri, trusted=client.vouched_for)
        await self._keys.find_certificate(source, certificate.der, parsed.public_key())


def methods(settings: Settings) -> tuple[str, ...]:
    """Of authenticating by a certificate, those that are set up."""
    chosen = settings.certificates
    if not chosen.certificate_proxies:
        return ()
    own = ("self_signed_tls_client_auth",)
    return own if chosen.certificate_ca is None else ("tls_client_auth", *own)


def _for_clients(policy: Any, certificate: Any, usage: Any) -> None:
    """RFC 5280 §4.2.1.12. One that says nothing is for anything, and was not meant for this."""
    from cryptography.x509.oid import ExtendedKeyUsageOID

    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("the certificate is not for clients (clientAuth)")


def _shown(certificate: Certificate) -> str:
    return certificate.parsed.subject.rfc4514_string()[:200]
