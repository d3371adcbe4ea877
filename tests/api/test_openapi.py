"""The OpenAPI document tells the truth about both lanes, and its pages work without internet."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from identity.app import create_app
from identity.directory.access.granting import BUILT_IN
from tests.world import PASSWORD, World

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])

METHODS = {"get", "post", "put", "patch", "delete"}
PAGES = {"/docs", "/redoc", "/docs/oauth2-redirect", "/openapi.json"}


@pytest.fixture
async def document(api: httpx.AsyncClient) -> dict[str, Any]:
    answer = await api.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS, (path, method)
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


async def test_every_address_of_both_lanes_is_described(app: Any, document: dict[str, Any]) -> None:
    described = {(method, path) for method, path, _ in operations(document)}
    served = {(method.lower(), path) for method, path, _ in app.lane.described()}
    for route in (await app.administration.built()).routes:
        if isinstance(route, Route) and route.path not in PAGES:
            served |= {(method.lower(), route.path) for method in route.methods or ()}
    served = {(method, path) for method, path in served if method != "head"}
    assert described >= {(m, p) for m, p in served if not p.startswith("/static")}
    assert len(described) > 40


async def test_an_issuer_with_a_path_has_both_addresses_of_its_metadata_described(
    make_settings: Callable[..., Any],
) -> None:
    app = create_app(make_settings(issuer="https://id.example/tenant"))
    paths = app.administration.build().openapi()["paths"]
    app.services.pool.close()
    app.services.db.close()
    plain = "/.well-known/oauth-authorization-server"
    there = [paths[path]["get"] for path in (plain, f"{plain}/tenant")]
    assert [each.pop("operationId") for each in there] == ["metadata", "metadata_get"]
    assert there[0] == there[1]


async def test_every_operation_is_complete(document: dict[str, Any]) -> None:
    names = []
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        names.append(operation["operationId"])
        assert operation["summary"], where
        assert operation["tags"], where
        statuses = operation["responses"]
        assert any(status.startswith("2") for status in statuses), where
        for status, response in statuses.items():
            assert response["description"], (where, status)
            # Bodies of errors are of our two kinds only, and pages where people are sent around.
            if status[0] in "45":
                media = set(response.get("content", {}))
                ours = {"application/problem+json", "application/json"}
                ours |= {"text/html"} if "303" in statuses else set()
                assert media and media <= ours, (where, status)
        for parameter in re.findall(r"\{(\w+)\}", path):
            declared = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert parameter in declared, where
    assert len(names) == len(set(names))


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for reference in set(references(document)):
        node: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


async def test_every_scope_that_an_operation_needs_exists_and_is_named(
    document: dict[str, Any],
) -> None:
    schemes = document["components"]["securitySchemes"]
    flows = schemes["OAuth2"]["flows"]
    assert flows.keys() == {"password", "authorizationCode"}
    assert flows["authorizationCode"]["authorizationUrl"] == "/authorize"
    for flow in flows.values():
        assert flow["tokenUrl"] == flow["refreshUrl"] == "/token"
        assert list(flow["scopes"]) == ["*"]  # one tick; each scope has its words in docs/
    for _, path, operation in operations(document):
        for requirement in operation.get("security", []):
            for scheme, scopes in requirement.items():
                assert scheme in schemes, path
                assert set(scopes) <= BUILT_IN.keys(), path


async def test_no_operation_without_security_needs_a_token(world: World) -> None:
    document = (await world.api.get("/openapi.json")).json()
    for method, path, operation in operations(document):
        needs = operation.get("security", [])
        if needs and {} not in needs:
            url = re.sub(r"\{\w+\}", "x", path)
            answer = await world.api.request(
                method, url, headers={"content-type": "application/json"}, content=b"{}"
            )
            if "x-www-form-urlencoded" in str(operation.get("requestBody")):
                continue  # a form is read before its client is authenticated
            assert answer.status_code == 401, (method, path, answer.text)
            assert "www-authenticate" in answer.headers


async def test_what_the_document_says_of_a_token_and_a_user_is_what_comes(world: World) -> None:
    """The hot addresses are described by hand; this holds them to it."""
    document = (await world.api.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    world.user()
    tokens = await world.log_in()
    for model, answer in (
        ("TokenResponse", tokens),
        ("IntrospectionResponse", await world.introspect(tokens["access_token"])),
        ("IntrospectionResponse", await world.introspect(tokens["refresh_token"])),
        ("UserOut", (await world.me(tokens["access_token"])).json()),
        ("JwkSet", (await world.api.get("/.well-known/jwks.json")).json()),
        (
            "AuthorizationServerMetadata",
            (await world.api.get("/.well-known/oauth-authorization-server")).json(),
        ),
        ("Status", (await world.api.get("/readyz")).json()),
        ("OAuthErrorBody", (await world.token()).json()),
        ("ProblemBody", (await world.api.get("/nowhere")).json()),
    ):
        schema = schemas[model]
        assert set(schema.get("required", [])) <= answer.keys(), model
        open_ended = schema.get("additionalProperties") is True
        assert open_ended or answer.keys() <= schema["properties"].keys(), model


async def test_examples_hold_no_secret_that_works(document: dict[str, Any]) -> None:
    text = str(document)
    assert PASSWORD not in text
    assert "PRIVATE KEY" not in text
    assert not re.search(r"rt_[A-Za-z0-9_-]{43}", text)


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_the_pages_bring_their_own_scripts(api: httpx.AsyncClient, page: str) -> None:
    answer = await api.get(page)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    loaded = re.findall(r"(?:src|href)=\"([^\"]+)\"", answer.text)
    own = [url for url in loaded if url.startswith("/")]
    assert own
    for url in own:
        asset = await api.get(url)
        assert asset.status_code == 200, url
        assert len(asset.content) > 100
    # Whatever else is named may stay away without harm: no script, no style.
    for url in loaded:
        assert url.startswith("/") or not re.search(r"\.(js|css)(\?|$)", url), url
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    back = await api.get("/docs/oauth2-redirect")
    assert back.status_code == 200
    # Their own script may run, by its digest, and no other that stands in a page.
    for each in (answer, back):
        scripts = re.findall(r"<script>(.*?)</script>", each.text, re.DOTALL)
        digests = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
        policy = each.headers["content-security-policy"]
        (allowed,) = re.findall(r"script-src ([^;]*);", policy)
        assert set(allowed.split()) - {"'self'"} == {f"'sha256-{each}'" for each in digests}
