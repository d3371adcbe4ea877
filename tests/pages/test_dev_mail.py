"""`/dev/mail`: for whoever sits at this machine in development, and nobody else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from identity.app import create_app
from tests.mailbox import sent
from tests.serving import running
from tests.transport import served
from tests.world import World


@pytest.fixture
def settings(make_settings: Callable[..., Any], tmp_path: Path) -> Any:
    return make_settings(mail_folder=tmp_path / "mail")


async def test_whoever_develops_reads_the_mails(world: World) -> None:
    world.user(email="ada@example.com")
    origin = world.services.settings.issuer
    async with at(world, "127.0.0.1") as here:
        assert "There are none yet" in (await here.get("/dev/mail")).text
        await here.post("/reset-password", data={"username": "ada"}, headers={"origin": origin})
        (mail,) = await sent(world)
        (name,) = [path.stem for path in kept(world)]
        listed = (await here.get("/dev/mail")).text
        assert "ada@example.com" in listed and f"?mail={name}" in listed
        shown = await here.get(f"/dev/mail?mail={name}")
        assert f'href="{mail.link}"' in shown.text
        html = await here.get(f"/dev/mail?mail={name}&part=html")
        assert html.text.startswith("<!doctype html>")
        assert "sandbox" in html.headers["content-security-policy"]
        for wrong in ("../keys/master", "nothing", "%2e%2e%2fx", f"{name}.eml"):
            assert (await here.get(f"/dev/mail?mail={wrong}")).status_code == 404


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("192.0.2.7", {}),
        ("127.0.0.1", {"host": "identity.example"}),
        ("127.0.0.1", {"host": "127.0.0.1:8001"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"x-forwarded-host": "127.0.0.1:8000"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
    ],
)
async def test_nobody_else_does(world: World, address: str, headers: dict[str, str]) -> None:
    async with at(world, address) as there:
        assert (await there.get("/dev/mail", headers=headers)).status_code == 404


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_in_production_there_is_no_such_page(
    make_settings: Callable[..., Any], tmp_path: Path
) -> None:
    settings = make_settings(
        mail_folder=tmp_path / "mail", environment="production", bcrypt_rounds=12
    )
    app = create_app(settings)
    transport = served(app)
    transport.client = ("127.0.0.1", 1)
    async with (
        running(app),
        httpx.AsyncClient(transport=transport, base_url=settings.issuer) as here,
    ):
        assert (await here.get("/dev/mail")).status_code == 404
        assert (await here.get("/reset-password")).status_code == 404


def at(world: World, address: str) -> httpx.AsyncClient:
    transport = served(world.app)
    transport.client = (address, 4711)
    return httpx.AsyncClient(transport=transport, base_url=world.services.settings.issuer)


def kept(world: World) -> list[Path]:
    folder = world.services.settings.mail.mail_folder
    assert folder is not None
    return sorted(folder.glob("*.eml"))
