"""How the OAuth endpoints read a request, and how they refuse one (RFC 6749 §3.2, §5.2)."""

import pytest

from tests.world import FORM, PASSWORD, World, claims_of, granted, refused

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])

PARAMETERS = {
    "/token": (
        "grant_type",
        "username",
        "password",
        "scope",
        "refresh_token",
        "client_id",
        "client_secret",
        "unheard_of",
    ),
    "/introspect": ("token", "token_type_hint", "client_id", "client_secret", "unheard_of"),
    "/revoke": ("token", "token_type_hint", "client_id", "client_secret", "unheard_of"),
}
COMPLETE = {
    "/token": {"grant_type": "password", "username": "ada", "password": PASSWORD},
    "/introspect": {"token": "x"},
    "/revoke": {"token": "x"},
}
PATHS = pytest.mark.parametrize("path", list(PARAMETERS))


@PATHS
async def test_a_repeated_parameter_is_refused_by_name(world: World, path: str) -> None:
    world.user()
    for name in PARAMETERS[path]:
        rest = [f"{n}={v.replace(' ', '+')}" for n, v in COMPLETE[path].items() if n != name]
        otherwise_spelt = f"%{ord(name[0]):02x}{name[1:]}"
        for first, second in (
            (f"{name}=a", f"{name}=a"),
            (f"{name}=a", f"{name}="),
            (f"{name}=a", f"{otherwise_spelt}=b"),
        ):
            body = "&".join([first, *rest, second])
            answer = await world.api.post(path, content=body, headers={"content-type": FORM})
            assert name in refused(answer, 400, "invalid_request")


@PATHS
async def test_another_content_type_is_refused(world: World, path: str) -> None:
    for content_type in ("application/json", "multipart/form-data; boundary=x", "text/plain", ""):
        answer = await world.api.post(
            path, content=b"token=x&grant_type=password", headers={"content-type": content_type}
        )
        assert "Content-Type" in refused(answer, 400, "invalid_request")
    answer = await world.api.post(path, content=b"token=x")
    assert "Content-Type" in refused(answer, 400, "invalid_request")


async def test_a_content_type_may_carry_its_charset(world: World) -> None:
    world.user()
    body = f"grant_type=password&username=ada&password={PASSWORD.replace(' ', '+')}"
    for value in (f"{FORM}; charset=UTF-8", FORM.upper(), f'{FORM};charset="utf-8"'):
        granted(await world.api.post("/token", content=body, headers={"content-type": value}))
    answer = await world.api.post(
        "/token", content=body, headers={"content-type": f"{FORM}; charset=utf-16"}
    )
    refused(answer, 400, "invalid_request")


@PATHS
async def test_parameters_in_the_query_count_for_nothing(world: World, path: str) -> None:
    caller = world.client()
    query = "&".join(f"{name}={value}" for name, value in COMPLETE[path].items())
    answer = await world.api.post(f"{path}?{query}", headers={"content-type": FORM, **caller.basic})
    refused(answer, 400, "invalid_request")


async def test_a_parameter_without_a_value_counts_as_omitted(world: World) -> None:
    world.user()
    await world.log_in(scope="", resource="", client_secret="", refresh_token="")
    for missing in ("username", "password"):
        form = COMPLETE["/token"] | {missing: ""}
        assert missing in refused(await world.token(**form), 400, "invalid_request")
    caller = world.client()
    for path in ("/introspect", "/revoke"):
        answer = await world.api.post(path, data={"token": ""}, headers=caller.basic)
        assert "token" in refused(answer, 400, "invalid_request")


async def test_parameters_nobody_knows_are_ignored(world: World) -> None:
    world.user()
    tokens = await world.log_in(nonce="1", state="ü", token_type_hint="nonsense")
    caller = world.client(scopes=["introspect"])
    answer = await world.api.post(
        "/introspect",
        data={"token": tokens["access_token"], "token_type_hint": "nonsense", "x": "y"},
        headers=caller.basic,
    )
    assert answer.json()["active"] is True


async def test_a_missing_grant_type_and_an_unknown_one_are_told_apart(world: World) -> None:
    refused(await world.token(username="ada"), 400, "invalid_request")
    for grant_type in (
        "implicit",
        "PASSWORD",
        "password ",
        "\u00fc",
        "__doc__",
    ):
        answer = await world.token(grant_type=grant_type)
        says = refused(answer, 400, "unsupported_grant_type")
        assert "password refresh_token client_credentials" in says


@PATHS
async def test_bytes_that_are_no_utf8_form_are_refused(world: World, path: str) -> None:
    for body in (
        b"\xff",
        b"a=%",
        b"a=%zz",
        b"a=%ED%A0%80",
        b"a=\0",
        b"a=%00",
        b"%00=a",
        b"a=%C0%AF",
    ):
        answer = await world.api.post(path, content=body, headers={"content-type": FORM})
        refused(answer, 400, "invalid_request")


@PATHS
async def test_an_error_description_holds_only_what_rfc_6749_allows(
    world: World, path: str
) -> None:
    caller = world.client()
    for name in ('a"\\\n\u00fc\x7f', "<script>", "x" * 500):
        answer = await world.api.post(
            path,
            content="&".join(f"{_encoded(name)}={value}" for value in "12"),
            headers={"content-type": FORM, **caller.basic},
        )
        says = refused(answer, 400, "invalid_request")
        assert all(" " <= c <= "~" and c not in '"\\' for c in says) and len(says) < 200


def _encoded(text: str) -> str:
    return "".join(f"%{octet:02X}" for octet in text.encode())


@PATHS
async def test_hundreds_of_parameters_are_refused(world: World, path: str) -> None:
    body = "&".join(f"p{number}=1" for number in range(200))
    answer = await world.api.post(path, content=body, headers={"content-type": FORM})
    refused(answer, 400, "invalid_request")


@PATHS
async def test_an_oauth_endpoint_answers_post_only(world: World, path: str) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
        answer = await world.api.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_refusal_says_no_store_whatever_it_is(world: World) -> None:
    for answer in (
        await world.token(grant_type="password"),
        await world.token(grant_type="client_credentials", client_id="nobody"),
        await world.api.post("/introspect", data={"token": "x"}),
        await world.api.post("/revoke", data={}),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert set(answer.json()) == {"error", "error_description"}


async def test_resource_may_repeat_but_a_token_is_for_one(world: World) -> None:
    """RFC 8707 §2."""
    world.user()
    orders, bills = "https://orders.example/", "https://bills.example/"
    shop = world.client("shop", audiences=[orders, bills])
    form = COMPLETE["/token"] | shop.post
    for named, good in (([orders, orders], True), ([orders, ""], True), ([orders, bills], False)):
        answer = await world.api.post("/token", data=form | {"resource": named})
        if good:
            assert claims_of(granted(answer)["access_token"])["aud"] == orders
        else:
            refused(answer, 400, "invalid_target")
