"""Tokens bound to a certificate (RFC 8705 §3), at services that use the verifier."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from identity.verifier import (
    Bound,
    BoundToCertificate,
    DPoP,
    Expired,
    FromProxies,
    FromServer,
    InsufficientScope,
    Revoked,
    UnreadableCertificate,
    VerifiedToken,
    Verifier,
)
from identity.verifier import certificates as reading
from identity.verifier.asgi import IdentityMiddleware
from identity.verifier.fastapi import Identity
from identity.verifier.testing import Issuer
from identity.verifier.testing.certificates import ClientCertificate
from tests.certificates import by_itself

URL = "https://api.test/orders"
PROXY = "10.0.0.7"


@pytest.fixture(scope="module")
def own() -> ClientCertificate:
    return ClientCertificate("own")


@pytest.fixture(scope="module")
def other() -> ClientCertificate:
    return ClientCertificate("other")


# --- The verifier itself ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["introspection", "status-list", "stream", None])
async def test_a_token_goes_with_its_certificate_and_no_other(
    issuer: Issuer, own: ClientCertificate, other: ClientCertificate, mode: Any
) -> None:
    async with issuer.verifier(revocations=mode) as verifier:
        for _ in range(2):
            token = issuer.token(certificate=own)
            for _ in range(2):  # the second time from memory
                for held in (None, other.der, b""):
                    with pytest.raises(BoundToCertificate):
                        await verifier.verify(token, certificate=held)
                claims = await verifier.verify(token, certificate=own.der)
                assert claims.confirmation == {"x5t#S256": own.x5t}
            with pytest.raises(BoundToCertificate):
                verifier.check(token)


async def test_everything_else_about_the_token_counts_as_before(
    issuer: Issuer, own: ClientCertificate
) -> None:
    async with issuer.verifier() as verifier:
        for error, token in (
            (InsufficientScope, issuer.token(certificate=own)),
            (Expired, issuer.token(expires_in=-1, certificate=own)),
        ):
            with pytest.raises(error):
                await verifier.verify(token, "orders:read", certificate=own.der)
        token = issuer.token(certificate=own)
        issuer.revoke(token)
        with pytest.raises(Revoked):
            await verifier.verify(token, certificate=own.der)
        unbound = issuer.token()
        assert (await verifier.verify(unbound, certificate=own.der)).confirmation is None


async def test_what_is_bound_to_both_takes_both(
    issuer: Issuer, own: ClientCertificate, other: ClientCertificate
) -> None:
    key = issuer.proof_key()
    token = issuer.token(key=key, certificate=own)

    def proof(by: Any = key) -> DPoP:
        return DPoP(by.proof("GET", URL, token), "GET", URL)

    async with issuer.verifier() as verifier:
        for held in (None, other.der):
            with pytest.raises(BoundToCertificate):
                await verifier.verify(token, dpop=proof(), certificate=held)
        with pytest.raises(Bound):
            await verifier.verify(token, certificate=own.der)
        with pytest.raises(Bound):
            await verifier.verify(token, dpop=proof(issuer.proof_key()), certificate=own.der)
        claims = await verifier.verify(token, dpop=proof(), certificate=own.der)
        assert claims.confirmation == {"jkt": key.jkt, "x5t#S256": own.x5t}
        by_certificate = issuer.token(certificate=own)
        proved = DPoP(key.proof("GET", URL, by_certificate), "GET", URL)
        with pytest.raises(Bound):
            await verifier.verify(by_certificate, dpop=proved, certificate=own.der)


def test_threads_say_it_too(
    issuer: Issuer, own: ClientCertificate, other: ClientCertificate
) -> None:
    token = issuer.token(certificate=own)
    with issuer.sync_verifier() as verifier:
        assert verifier.verify(token, certificate=own.der).token_id
        assert verifier.check(token, certificate=own.der) is not None
        for held in (None, other.der):
            with pytest.raises(BoundToCertificate):
                verifier.verify(token, certificate=held)


# --- FastAPI and any ASGI app -----------------------------------------------------------------

Make = Callable[..., tuple[Any, Verifier]]


def in_fastapi(issuer: Issuer, **options: Any) -> tuple[Any, Verifier]:
    identity = Identity(verifier=issuer.verifier(**options))
    app = FastAPI(lifespan=identity.lifespan)
    identity.install(app)

    @app.get("/orders")
    async def orders(token: Annotated[VerifiedToken, identity.require("orders")]) -> str:
        return token.subject

    return app, identity.verifier


def in_asgi(issuer: Issuer, **options: Any) -> tuple[Any, Verifier]:
    async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": scope["token"].subject.encode()})

    verifier = issuer.verifier(scopes=["orders"], **options)
    return IdentityMiddleware(app, verifier), verifier


FRAMEWORKS = pytest.mark.parametrize("make", [in_fastapi, in_asgi])


async def asked(
    app: Any, headers: Any, peer: str = PROXY, path: str = "/orders", **extensions: Any
) -> httpx.Response:
    async def called(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": extensions}, receive, send)

    transport = httpx.ASGITransport(app=called, client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test") as client:
        return await client.get(path, headers=headers)


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 401, answer.text
    said = answer.headers["www-authenticate"]
    assert said.startswith("Bearer ") and 'error="invalid_token"' in said, said


@FRAMEWORKS
async def test_a_proxy_says_which_certificate_came(
    issuer: Issuer, own: ClientCertificate, other: ClientCertificate, make: Make
) -> None:
    app, verifier = make(issuer, certificates=FromProxies(PROXY, "fd00::/8"))
    token = issuer.token(scope="orders", certificate=own)
    async with verifier:
        for peer in (PROXY, f"::ffff:{PROXY}", "fd00::1"):
            assert (await asked(app, own.headers(token), peer)).status_code == 200
        for peer in ("10.0.0.8", "127.0.0.1", "fe80::1", "testclient", ""):
            refused(await asked(app, own.headers(token), peer))
            spoofed = own.headers(token) | {"X-Forwarded-For": PROXY, "Forwarded": f"for={PROXY}"}
            refused(await asked(app, spoofed, peer))
        refused(await asked(app, other.headers(token)))
        refused(await asked(app, {"Authorization": f"Bearer {token}"}))
        refused(await asked(app, {"Authorization": f"Bearer {token}"}, **own.extension))
        for first, second in ((own, other), (other, own), (own, own)):
            pair = [
                *first.headers(token).items(),
                ("Client-Cert", second.headers("")["Client-Cert"]),
            ]
            assert (await asked(app, pair)).status_code == 400
        nonsense = own.headers(token) | {"Client-Cert": own.pem.replace("\n", " ")}
        assert (await asked(app, nonsense)).status_code == 400
        metadata = await asked(app, {}, path="/.well-known/oauth-protected-resource")
        assert metadata.json()["tls_client_certificate_bound_access_tokens"] is True


@FRAMEWORKS
async def test_or_the_server_does(
    issuer: Issuer, own: ClientCertificate, other: ClientCertificate, make: Make
) -> None:
    app, verifier = make(issuer, certificates=FromServer())
    token = issuer.token(scope="orders", certificate=own)
    sent = {"Authorization": f"Bearer {token}"}
    chain = {"tls": {"client_cert_chain": [own.pem, other.pem]}}
    async with verifier:
        assert (await asked(app, sent, **own.extension)).status_code == 200
        assert (await asked(app, sent, **chain)).status_code == 200
        wrong: list[dict[str, Any]] = [
            {}, {"tls": {}}, {"tls": {"client_cert_chain": []}}, other.extension,
            {"tls": {"client_cert_chain": [other.pem, own.pem]}},
            {"tls": {"client_cert_chain": [own.pem], "client_cert_error": "expired"}},
        ]  # fmt: skip
        for extensions in wrong:
            refused(await asked(app, own.headers(token), **extensions))
        broken = {"tls": {"client_cert_chain": [own.pem * 2]}}
        assert (await asked(app, sent, **broken)).status_code == 400


@FRAMEWORKS
async def test_nobody_is_believed_unless_that_is_said(
    issuer: Issuer, own: ClientCertificate, make: Make
) -> None:
    app, verifier = make(issuer)
    token = issuer.token(scope="orders", certificate=own)
    async with verifier:
        for peer in ("127.0.0.1", PROXY):
            refused(await asked(app, own.headers(token), peer, **own.extension))
        metadata = await asked(app, {}, path="/.well-known/oauth-protected-resource")
        assert "tls_client_certificate_bound_access_tokens" not in metadata.json()


@pytest.mark.parametrize("networks", [(), ("proxy.example",), ("10.0.0.7/8",), ("",)])
def test_proxies_are_named_by_address(networks: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are ipaddress's
        FromProxies(*networks)


# --- Reading ----------------------------------------------------------------------------------


def test_the_example_of_the_rfc_is_read() -> None:
    """RFC 9440 §2.3 and appendix A."""
    value = (
        b":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNV"
        b"BAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMM"
        b"AkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3Y"
        b"C8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYC"
        b"uiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRj"
        b"QGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEA"
        b"x/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
    )
    from cryptography import x509

    certificate = x509.load_der_x509_certificate(reading.read(value))
    assert certificate.subject.rfc4514_string() == "CN=BC"
    assert reading.header_of(reading.read(value)).encode() == value
    assert reading.read_chain(value + b" ,\t" + value) == [reading.read(value)] * 2


@given(st.binary(min_size=1, max_size=400))
def test_what_is_written_is_read_and_in_no_other_spelling(octets: bytes) -> None:
    value = reading.header_of(octets).encode()
    assert reading.read(value) == octets
    for spelled in (
        value[:-2] + b"\n:",
        value + b";a",
        value.replace(b":", b""),
        b"?1",
        b":" + value,
    ):
        with pytest.raises(ValueError, match="is "):
            reading.read(spelled)


@given(st.binary(max_size=60) | st.text(alphabet=":ABab+/=, ;\t", max_size=40).map(str.encode))
def test_nonsense_is_refused_or_has_one_meaning(value: bytes) -> None:
    try:
        octets = reading.read(value)
    except ValueError:
        return
    assert reading.header_of(octets).encode() == value.strip(b" ")


def test_pem_is_read_as_libraries_write_it() -> None:
    own = by_itself()
    assert reading.der_of(own.pem.decode()) == own.der
    assert reading.der_of(own.pem.decode().replace("\n", "\r\n")) == own.der
    for odd in ("", own.pem.decode()[:-9], own.pem.decode() * 2, own.secret.decode()):
        with pytest.raises(ValueError, match="is no certificate in PEM"):
            reading.der_of(odd)


def test_a_broken_header_is_a_mistake_of_the_request() -> None:
    scope = {"client": (PROXY, 1), "headers": [(b"client-cert", b"x")]}
    with pytest.raises(UnreadableCertificate):
        FromProxies(PROXY)(scope)
    assert FromProxies("10.0.0.0/30")({**scope, "client": None}) is None
