"""What a client registers of its certificate: one name that stands in it (RFC 8705 §2.1.2)."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from cryptography import x509

    from identity.directory.clients.settings import ClientSettings

SETTINGS: Final = tuple(
    f"tls_client_auth_{name}"
    for name in ("subject_dn", "san_dns", "san_uri", "san_ip", "san_email")
)


def distinguished(text: str) -> "x509.Name":
    """A name as RFC 4514 writes it, and OpenSSL (`-nameopt RFC2253`) and nginx do. ValueError."""
    from cryptography import x509  # only who has such clients needs it
    from cryptography.x509.oid import NameOID

    also = {
        "emailAddress": NameOID.EMAIL_ADDRESS,
        "serialNumber": NameOID.SERIAL_NUMBER,
        "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    }
    return x509.Name.from_rfc4514_string(text, also)


def fits(settings: "ClientSettings", certificate: "x509.Certificate") -> bool:
    """Whether the certificate has the name that is registered. ValueError where it is no such."""
    for setting, has in _HAS.items():
        if (registered := getattr(settings, setting)) is not None:
            return has(certificate, registered)
    return False


def _has_subject(certificate: "x509.Certificate", registered: str) -> bool:
    return certificate.subject == distinguished(registered)


def _alternatives(certificate: "x509.Certificate", kind: str) -> list[Any]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return list(found.get_values_for_type(getattr(x509, kind)))


def _has_dns(certificate: "x509.Certificate", registered: str) -> bool:
    """Hosts' names are the same in any case; a star is a star, and stands for nothing."""
    names = [name.lower() for name in _alternatives(certificate, "DNSName")]
    return registered.lower() in names


def _has_uri(certificate: "x509.Certificate", registered: str) -> bool:
    return registered in _alternatives(certificate, "UniformResourceIdentifier")


def _has_ip(certificate: "x509.Certificate", registered: str) -> bool:
    return ip_address(registered) in _alternatives(certificate, "IPAddress")


def _has_email(certificate: "x509.Certificate", registered: str) -> bool:
    return registered in _alternatives(certificate, "RFC822Name")


_HAS: Final[dict[str, Callable[["x509.Certificate", str], bool]]] = dict(
    zip(SETTINGS, (_has_subject, _has_dns, _has_uri, _has_ip, _has_email), strict=True)
)
