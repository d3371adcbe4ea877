"""A grant is one file and one line: whoever must know which there are, asks the registry."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import httpx
import pytest

from identity.oauth.grants import registry
from identity.oauth.grants.request import Issue, TokenRequest
from identity.service.wiring import Services
from identity.tokens.minting import Subject
from tests.world import World, bearer, granted, refused

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


class Courtesy:
    """A client that says please acts for itself."""

    grant_type: ClassVar[str] = "urn:example:please"
    form: ClassVar[Mapping[str, Any]] = {"please": {"type": "string"}}
    example: ClassVar[Mapping[str, str]] = {"please": "pretty"}
    for_itself: ClassVar[bool] = True
    logs_in: ClassVar[bool] = False

    def __init__(self, services: Services) -> None:
        self._places = services.places

    @classmethod
    def of(cls, services: Services) -> Self:
        return cls(services)

    async def authorize(self, request: TokenRequest) -> Issue:
        request.required("please")
        place = await self._places.take(request.client.id, request.audience)
        scope = request.granted(holder=None)
        subject = Subject(request.client.id)
        return Issue(subject, request.audience, scope, place, request.asked_at)


@pytest.fixture(autouse=True)
def one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "GRANTS", (*registry.GRANTS, Courtesy))


NAMES = [
    "password", "refresh_token", "client_credentials", "authorization_code",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer", Courtesy.grant_type,
]  # fmt: skip


async def test_what_one_more_grant_issues_is_a_token(world: World) -> None:
    client = world.client("polite", grants=[Courtesy.grant_type], scopes=["introspect"])
    tokens = granted(await world.token(client, grant_type=Courtesy.grant_type, please="pretty"))
    assert (await world.introspect(tokens["access_token"]))["sub"] == client.id
    unsaid = await world.token(client, grant_type=Courtesy.grant_type)
    assert "please is missing" in refused(unsaid, 400, "invalid_request")


async def test_the_metadata_and_the_refusals_name_it(world: World) -> None:
    metadata = (await world.api.get("/.well-known/oauth-authorization-server")).json()
    assert metadata["grant_types_supported"] == NAMES
    unknown = await world.token(grant_type="implicit")
    assert Courtesy.grant_type in refused(unknown, 400, "unsupported_grant_type")


async def test_the_document_has_its_name_and_its_parameters(api: httpx.AsyncClient) -> None:
    document = (await api.get("/openapi.json")).json()
    operation = document["paths"]["/token"]["post"]
    (content,) = operation["requestBody"]["content"].values()
    members = content["schema"]["properties"]
    assert members["grant_type"]["enum"] == NAMES
    assert members["please"] == {"type": "string"}
    assert f"`{Courtesy.grant_type}`" in operation["description"]
    for model in ("NewClient", "ClientPatch"):
        grants = document["components"]["schemas"][model]["properties"]["grant_types"]
        assert grants["items"]["enum"] == NAMES


async def test_a_client_is_registered_for_it(world: World) -> None:
    scopes = "clients:read clients:write"
    admin = world.user("root", roles=["admin"])
    token = (await world.log_in(username=admin.username, scope=scopes))["access_token"]

    async def register(**fields: Any) -> httpx.Response:
        return await world.api.post("/clients", json={"name": "P", **fields}, headers=bearer(token))

    done = await register(grant_types=[Courtesy.grant_type])
    assert (done.status_code, done.json()["grants"]) == (201, [Courtesy.grant_type])
    public = await register(grants=[Courtesy.grant_type], type="public")
    assert f"a public client cannot use {Courtesy.grant_type}" in public.text
    unknown = await register(grants=["implicit"])
    assert Courtesy.grant_type in unknown.text
