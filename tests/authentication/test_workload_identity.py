"""Programs that a cluster vouches for: no secret, and no key of their own.

The issuer here does what a Kubernetes API server does: metadata and keys over https by an authority
of its own, keys that rotate, and projected tokens that are used until they are replaced."""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from identity import clock as clocks
from identity.app import create_app
from identity.clock import frozen
from identity.directory.issuers import editing
from tests import acting
from tests.acting import problem
from tests.elsewhere import Answer, Authority, Elsewhere, elsewhere
from tests.serving import running
from tests.signing import Signer, from_now, key_set
from tests.transport import served
from tests.world import Caller, World, claims_of, granted, refused

SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])

OURS = "http://127.0.0.1:8000"
SUBJECT = "system:serviceaccount:shop:orders"


@pytest.fixture(autouse=True)
def _still() -> Iterator[None]:
    """However long a busy machine takes, no assertion grows old on the way."""
    with frozen():
        yield


class Cluster:
    def __init__(self, server: Elsewhere) -> None:
        self.server = server
        self.issuer = f"https://localhost:{server.port}"
        self.signers = [Signer("RS256", "first")]
        self.publish()

    def publish(self) -> None:
        jwks_uri = f"{self.issuer}/openid/v1/jwks"
        self.metadata = {
            "issuer": self.issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        self.server.answers["/.well-known/openid-configuration"] = Answer(
            json.dumps(self.metadata).encode()
        )
        keys = json.dumps(key_set(*self.signers)).encode()
        self.server.answers["/openid/v1/jwks"] = Answer(
            keys, headers={"content-type": "application/jwk-set+json"}
        )

    def rotate(self) -> None:
        self.signers.insert(0, Signer("RS256", f"key-{len(self.signers)}"))
        self.publish()

    def token(self, at: float | None = None, **changed: Any) -> str:
        """A projected token, as a kubelet writes it into a file."""
        now = int(clocks.now() if at is None else at)
        namespace, _, account = SUBJECT.removeprefix("system:serviceaccount:").partition(":")
        claims = {
            "aud": [OURS], "exp": now + 3607, "iat": now, "iss": self.issuer,
            "jti": str(uuid.uuid4()), "nbf": now, "sub": SUBJECT,
            "kubernetes.io": {
                "namespace": namespace, "serviceaccount": {"name": account, "uid": "x"}
            },
        } | changed  # fmt: skip
        return self.signers[0].sign(claims, typ=None)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def cluster(authority: Authority) -> AsyncIterator[Cluster]:
    async with elsewhere(authority.server("localhost")) as server:
        yield Cluster(server)


@pytest.fixture
async def world(make_settings: Callable[..., Any], authority: Authority) -> AsyncIterator[World]:
    app = create_app(make_settings(fetch_ca=authority.pem, fetch_networks="127.0.0.0/8, ::1"))
    async with (
        running(app),
        httpx.AsyncClient(transport=served(app), base_url=OURS) as api,
    ):
        yield World(app, api)


def trust(world: World, issuer: str, **chosen: Any) -> None:
    with world.change() as session:
        editing.create(session, issuer=issuer, chosen=chosen, own_issuer=OURS, held=None)


def bind(world: World, issuer: str, subject: str = SUBJECT, client_id: str = "orders") -> str:
    world.client(client_id, scopes=["introspect"])
    settings = {
        "token_endpoint_auth_method": "workload_identity",
        "workloads": {issuer: subject},
    }
    world.change_client(client_id, settings=settings)
    return client_id


def proof(token: str, client_id: str = "orders") -> dict[str, str]:
    return {
        "client_id": client_id,
        "client_assertion": token,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }


async def ask(world: World, token: str, client_id: str = "orders") -> httpx.Response:
    form = {"grant_type": "client_credentials", "scope": "introspect"}
    return await world.api.post("/token", data=form | proof(token, client_id))


async def reason(world: World) -> str:
    why: str = (await world.events("client.authentication"))[-1].detail["why"]
    return why


async def test_a_program_proves_itself_by_the_file_that_its_cluster_writes(
    world: World, cluster: Cluster, tmp_path: Path
) -> None:
    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    file = tmp_path / "token"
    file.write_text(cluster.token())
    # The same file serves until it is replaced, at every endpoint.
    for _ in range(3):
        tokens = granted(await ask(world, file.read_text()))
        assert claims_of(tokens["access_token"])["sub"] == "orders"
        form = {"token": tokens["access_token"]} | proof(file.read_text())
        answer = await world.api.post("/introspect", data=form)
        assert answer.json()["active"] is True
    asked = [request.path for request in cluster.server.asked]
    assert asked == ["/.well-known/openid-configuration", "/openid/v1/jwks"]


@SQLITE
async def test_a_cluster_that_rotates_its_keys_goes_on_being_understood(
    world: World, cluster: Cluster
) -> None:
    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    old = cluster.token()
    granted(await ask(world, old))
    cluster.rotate()
    granted(await ask(world, cluster.token()))
    granted(await ask(world, old))


@SQLITE
@pytest.mark.parametrize(
    ("why", "changed"),
    [
        ("not bound", {"sub": "system:serviceaccount:shop:basket"}),
        ("not bound", {"sub": "system:serviceaccount:shop:orders2"}),
        ("not bound", {"iss": "https://other.example"}),
        ("aud is not", {"aud": ["https://kubernetes.default.svc.cluster.local"]}),
        ("exactly one", {"aud": [OURS, "https://other.example"]}),
        ("exactly one", {"aud": []}),
        ("exactly one", {"aud": None}),
        ("expired", {"exp": -60}),
        ("good for too long", {"exp": 365 * 86400}),
        ("exp is missing", {"exp": None}),
        ("nbf lies ahead", {"nbf": 120}),
    ],
)
async def test_what_is_not_this_program_s_for_us_and_now_is_refused(
    world: World, cluster: Cluster, why: str, changed: dict[str, Any]
) -> None:
    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    token = cluster.token(**from_now(changed))
    assert refused(await ask(world, token), 401, "invalid_client")
    assert why in await reason(world)


@SQLITE
async def test_another_s_signature_under_the_cluster_s_name_is_refused(
    world: World, cluster: Cluster
) -> None:
    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    granted(await ask(world, cluster.token()))
    claims = dict(claims_of(cluster.token()))
    for thief in (Signer("RS256", "first"), Signer("ES256", "first"), Signer("RS256", "other")):
        refused(await ask(world, thief.sign(claims)), 401, "invalid_client")


async def test_only_issuers_that_are_trusted_now_count(world: World, cluster: Cluster) -> None:
    bind(world, cluster.issuer)
    refused(await ask(world, cluster.token()), 401, "invalid_client")
    assert "none that we trust" in await reason(world)
    assert not cluster.server.asked
    trust(world, cluster.issuer)
    granted(await ask(world, cluster.token()))
    for fields in ({"status": "disabled"}, {"status": "active"}):
        with world.change() as session:
            found = editing.get(session, cluster.issuer, lock=True)
            editing.update(session, found, fields, own_issuer=OURS, held=None)
        answer = await ask(world, cluster.token())
        assert answer.status_code == (401 if fields["status"] == "disabled" else 200)
    with world.change() as session:
        editing.remove(session, editing.get(session, cluster.issuer), None)
    refused(await ask(world, cluster.token()), 401, "invalid_client")


@SQLITE
async def test_each_kind_of_client_proves_itself_in_its_own_way(
    world: World, cluster: Cluster
) -> None:
    """A cluster's word is none for a client that signs itself, whatever its name, and a signature
    none for one that a cluster vouches for."""
    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    signer = Signer()
    world.client("signs")
    key = {"token_endpoint_auth_method": "private_key_jwt", "jwks": signer.jwks}
    world.change_client("signs", settings=key)
    refused(await ask(world, cluster.token(), "signs"), 401, "invalid_client")
    refused(await ask(world, cluster.token(sub="signs"), "signs"), 401, "invalid_client")
    now = int(clocks.now())
    own = {"iss": "orders", "sub": "orders", "aud": OURS, "exp": now + 60, "jti": "1"}
    refused(await ask(world, signer.sign(own)), 401, "invalid_client")
    caller = Caller("orders", world.secret("orders"))
    refused(await world.token(caller, grant_type="client_credentials"), 401, "invalid_client")
    # No client is found by the subject alone.
    form = {"grant_type": "client_credentials"} | proof(cluster.token())
    del form["client_id"]
    refused(await world.api.post("/token", data=form), 401, "invalid_client")


@SQLITE
async def test_metadata_that_are_another_s_lead_nowhere(world: World, cluster: Cluster) -> None:
    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    path = "/.well-known/openid-configuration"
    for metadata in (
        cluster.metadata | {"issuer": "https://other.example"},
        cluster.metadata | {"issuer": cluster.issuer + "/"},
        cluster.metadata | {"jwks_uri": "http://localhost/jwks"},
        cluster.metadata | {"jwks_uri": "https://169.254.169.254/jwks"},
        {"issuer": cluster.issuer},
    ):
        with frozen() as clock:
            clock.tick(3600)
            cluster.server.answers[path] = Answer(json.dumps(metadata).encode())
            token = cluster.token(at=clock.at)
            refused(await ask(world, token), 401, "invalid_client")
            assert "their keys" in await reason(world)


async def test_an_issuer_may_be_known_by_keys_that_are_never_fetched(
    world: World, cluster: Cluster
) -> None:
    """A cluster whose API server we cannot reach, and one whose name is no address."""
    trust(world, "kubernetes/serviceaccount", jwks=key_set(*cluster.signers))
    bind(world, "kubernetes/serviceaccount")
    granted(await ask(world, cluster.token(iss="kubernetes/serviceaccount")))
    assert not cluster.server.asked


@SQLITE
async def test_an_issuer_may_have_an_audience_of_its_own(world: World, cluster: Cluster) -> None:
    trust(world, cluster.issuer, audience="identity")
    bind(world, cluster.issuer)
    granted(await ask(world, cluster.token(aud="identity")))
    granted(await ask(world, cluster.token(aud=["identity"])))
    refused(await ask(world, cluster.token()), 401, "invalid_client")


# --- Administration ----------------------------------------------------------------------------


async def test_administrators_trust_and_distrust_issuers(world: World, cluster: Cluster) -> None:
    boss = await acting.admin(world)
    answer = await boss("POST", "/trusted-issuers", {"issuer": cluster.issuer, "name": "Shop"})
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{OURS}/trusted-issuers/{made['id']}"
    path = f"/trusted-issuers/{made['id']}"
    bind(world, cluster.issuer)
    granted(await ask(world, cluster.token()))
    problem(await boss("POST", "/trusted-issuers", {"issuer": cluster.issuer}), 409)
    tag = (await boss("GET", path)).headers["etag"]
    patch = {"status": "disabled"}
    changed = await boss("PATCH", path, patch, headers={"if-match": tag})
    assert changed.json()["status"] == "disabled"
    problem(await boss("PATCH", path, {"name": "x"}, headers={"if-match": tag}), 412)
    refused(await ask(world, cluster.token()), 401, "invalid_client")
    listed = await boss.done("GET", "/trusted-issuers?q=LOCAL")
    assert [item["id"] for item in listed["items"]] == [made["id"]]
    assert (await boss.done("GET", "/trusted-issuers?q=nobody"))["items"] == []
    await boss.done("DELETE", path)
    problem(await boss("GET", path), 404)
    names = ("created", "updated", "deleted")
    events = [await world.events(f"trusted_issuer.{name}") for name in names]
    assert [[event.subject for event in found] for found in events] == [[made["id"]]] * 3
    assert events[1][0].detail == {"before": {"status": "active"}, "after": patch}


@SQLITE
async def test_only_who_holds_everything_says_whom_to_trust(world: World) -> None:
    """Whoever could register keys of their own could be any client that is bound to the issuer."""
    trust(world, "https://cluster.example")
    clerk = await acting.clerk(world, "clients:read", "clients:write")
    (item,) = (await clerk.done("GET", "/trusted-issuers"))["items"]
    path = f"/trusted-issuers/{item['id']}"
    problem(await clerk("POST", "/trusted-issuers", {"issuer": "https://mine.example"}), 403)
    problem(await clerk("PATCH", path, {"jwks": Signer().jwks}), 403)
    problem(await clerk("DELETE", path), 403)
    other = await acting.clerk(world, "users:read", username="other")
    problem(await other("GET", "/trusted-issuers"), 403)
    assert (await world.api.get("/trusted-issuers")).status_code == 401


@SQLITE
@pytest.mark.parametrize(
    ("pointer", "body"),
    [
        ("/issuer", {"issuer": OURS}),
        ("/issuer", {"issuer": "http://cluster.example"}),
        ("/issuer", {"issuer": "https://cluster.example?x"}),
        ("/issuer", {"issuer": "https://cluster.example/#x"}),
        ("/issuer", {"issuer": "https://user@cluster.example"}),
        ("/issuer", {"issuer": "cluster"}),
        ("/issuer", {"issuer": ""}),
        ("/issuer", {"issuer": "https://a.example/\n", "jwks": Signer().jwks}),
        ("/jwks_uri", {"issuer": "a", "jwks_uri": "http://a.example/"}),
        ("/jwks_uri", {"issuer": "a", "jwks_uri": "javascript:alert(1)"}),
        ("/jwks_uri", {"issuer": "a", "jwks_uri": "https://a.example/", "jwks": Signer().jwks}),
        ("/jwks/keys/0", {"issuer": "a", "jwks": {"keys": [Signer().private]}}),
        ("/jwks", {"issuer": "a", "jwks": {}}),
        ("/user_claim", {"issuer": "https://a.example", "user_match": "email"}),
        ("/user_match", {"issuer": "https://a.example", "user_match": "phone"}),
        ("/secret", {"issuer": "https://a.example", "secret": "x"}),
    ],
)
async def test_what_cannot_be_trusted_is_refused_by_name(
    world: World, pointer: str, body: dict[str, Any]
) -> None:
    boss = await acting.admin(world)
    answer = await boss("POST", "/trusted-issuers", body)
    assert pointer in acting.pointers(answer)
    assert '"d"' not in answer.text


@SQLITE
async def test_a_client_is_bound_by_its_settings(world: World, cluster: Cluster) -> None:
    boss = await acting.admin(world)
    trust(world, cluster.issuer)
    body = {
        "id": "orders", "name": "Orders", "grant_types": ["client_credentials"],
        "scopes": ["introspect"], "token_endpoint_auth_method": "workload_identity",
    }  # fmt: skip
    assert acting.pointers(await boss("POST", "/clients", body)) == {"/workloads"}
    bound = body | {"workloads": {cluster.issuer: SUBJECT}}
    made = await boss.done("POST", "/clients", bound)
    assert made["client_secret"] is None and made["secrets"] == []
    granted(await ask(world, cluster.token()))
    problem(await boss("POST", "/clients/orders/secrets", {}), 409)
    public = bound | {"id": "app", "type": "public", "grant_types": []}
    assert "/token_endpoint_auth_method" in acting.pointers(await boss("POST", "/clients", public))
    await boss.done("PATCH", "/clients/orders", {"workloads": {cluster.issuer: "another"}})
    refused(await ask(world, cluster.token()), 401, "invalid_client")
    alone = {"token_endpoint_auth_method": "client_secret_basic"}
    assert acting.pointers(await boss("PATCH", "/clients/orders", alone)) == {"/workloads"}


@SQLITE
async def test_the_verifier_of_a_sibling_needs_no_secret(world: World, cluster: Cluster) -> None:
    """It asks with a token that the cluster's word got it."""
    from identity.verifier import Verifier

    trust(world, cluster.issuer)
    bind(world, cluster.issuer)
    world.user()
    token = (await world.log_in())["access_token"]

    async def own_token() -> str:
        answer = await ask(world, cluster.token())
        access_token: str = granted(answer)["access_token"]
        return access_token

    verifier = Verifier(
        OURS, OURS, revocations="introspection", token=own_token, transport=world.api._transport
    )
    async with verifier:
        assert (await verifier.verify(token)).username == "ada"
