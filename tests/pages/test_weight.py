"""What a page weighs with all that it loads, and that it is there without any script."""

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin

import pytest
from sqlmodel import col, update

from identity import pages
from identity.clock import utcnow
from identity.directory.users.table import User
from identity.opaque import new_id
from identity.pages.console.screens import SCREENS
from identity.pages.registry import PAGES
from identity.records.audit import AuditEvent
from identity.tokens.sessions.table import LoginSession
from tests import acting
from tests.acting import Actor
from tests.browsing import Browser, Flow, code_client
from tests.pages.console.sitting import administrator, role, seated
from tests.pictures import png
from tests.world import World

TEMPLATES = Path(pages.__file__).parent / "templates"
MOST = 60 * 1024
"""Bytes, before anything between us and them makes less of it."""
AGENT = "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/138.0 Mobile Safari/537.36"
LOADED = re.compile(r'<(?:link|script|img)\b[^>]*?(?:href|src)="([^"]+)"')
QUERIES = {"user": "?id={user}", "client": "?id=shop", "client_logo": "?id=shop",
           "role": "?name=admin", "scope": "?name=users:read", "search": "?q=a"}  # fmt: skip


async def weight(browser: Browser, path: str) -> tuple[int, str]:
    page = await browser.get(path)
    total, text = len(page.answer.content), page.answer.text
    for address in set(LOADED.findall(text)):
        answer = await browser._api.get(urljoin(str(page.answer.url), address))
        assert answer.status_code == 200, address
        total += len(answer.content)
    return total, text


async def full(world: World) -> Actor:
    """A brand, a client with a logo, and more users and events than a page shows."""
    boss = await acting.admin(world)
    await boss.done("PATCH", "/branding", {"name": "Lighthouse", "accent": "#0b6b4f"})
    for path in ("/branding/logo", "/clients/shop/logo"):
        await boss.done("PUT", path, content=png(384, 96), headers={"content-type": "image/png"})
    role(world, "looks-after-stock"), role(world, "looks-after-orders")
    ids = [
        world.user(
            f"somebody.with.a.rather.long.name.{n:03}", password_hash="!",
            name=f"Somebody whose name is long {n}", email=f"somebody{n}@example.com",
            roles=["looks-after-stock", "looks-after-orders"],
        ).id
        for n in range(60)
    ]  # fmt: skip
    now = utcnow()
    told = {"acr": "aal2", "amr": ["pwd", "otp", "mfa"], "scope": "openid profile email"}
    with world.change() as session:
        session.execute(update(User).where(col(User.id).in_(ids)).values(last_login_at=now))
        for n, user_id in enumerate(ids):
            session.add(AuditEvent(
                event="authorization.granted", at=now, outcome="success", actor_type="user",
                actor=user_id, subject=user_id, client_id="shop", detail=told,
                address=f"2001:db8:1234:5678::{n:x}", request_id=new_id(),
            ))  # fmt: skip
            session.add(LoginSession(
                user_id=user_id, client_id="shop", scope="openid profile", audience="x",
                expires_at=now + timedelta(days=1), access_expires_at=now + timedelta(days=1),
                address=f"2001:db8:1234:5678::{n:x}", user_agent=AGENT,
            ))  # fmt: skip
    return boss


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_no_page_weighs_more_than_sixty_kilobytes_or_waits_for_a_script(world: World) -> None:
    user = administrator(world)
    flow = Flow(world, code_client(world))
    await full(world)
    browser = await seated(world)
    browser._api.headers["accept-language"] = "de"  # whose words are longer
    addresses = [
        each.path for each in PAGES if each.speaks and not each.path.startswith("/console")
    ]
    for screen in SCREENS:
        query = QUERIES.get(screen.module, "").format(user=user.id)
        addresses.append(f"{screen.path}{query}")
    fresh = Browser(world.api)
    page, _ = await flow.start(fresh)
    found = {"signing in": await weight(fresh, str(page.answer.url))}
    page = await fresh.sign_in(page, "root")
    found["consent"] = await weight(fresh, str(page.answer.url))
    for address in addresses:
        answer = await browser._api.get(address)
        if answer.headers.get("content-type", "").startswith("text/html"):
            found[address] = await weight(browser, address)
    assert len(found) > 30
    for address, (total, text) in found.items():
        assert total <= MOST, (address, total)
        assert "<h1" in text, address
        scripts = re.findall(r"<script\b[^>]*>", text)
        assert all(" defer" in each and "src=" in each for each in scripts), address
        assert "<style" not in text and " style=" not in text, address


def test_no_template_says_that_anything_is_safe() -> None:
    """What is escaped everywhere is escaped here. Icons alone are markup, from files of ours."""
    texts = {path: path.read_text() for path in TEMPLATES.rglob("*.html")}
    assert len(texts) > 50
    for path, text in texts.items():
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", text), path
    sources = {path: path.read_text() for path in Path(pages.__file__).parent.rglob("*.py")}
    marked = {path.name for path, text in sources.items() if "Markup" in text}
    assert marked == {"drawing.py"}
