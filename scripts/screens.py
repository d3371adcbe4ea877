"""Pictures of every page, in light, dark and on a telephone: `make screens`.

What is pictured is what `pages.registry` and `console.screens` list, and the steps between that
have no address of their own; a new screen is taken without a word here. They go into docs/screens/
as WebP; what looks as before is not written again. Needs Chromium.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from PIL import Image

from scripts import seeded

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "screens"
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
VARIANTS = (("light", "light", DESK), ("dark", "dark", DESK), ("phone", "light", PHONE))
HIGHEST = 1500
"""Pixels: of a long list its beginning is enough."""
SHARPER = 1.25
MAIN = frozenset(
    {
        "sign-in-for-application", "sign-in-branded", "second-factor", "consent", "account",
        "account-history", "console", "console-users", "console-user", "console-branding",
    }
)  # fmt: skip
"""Taken in dark and on a telephone too; of the others the repository has the light ones, and
`make screens ARGS=--all` makes the rest."""
MANY = ("", "?id={user}", "?id=shop", "?name=editor", "?name=orders:read", "?q=mi",
        "?user={user}", "?id={issuer}", "?id={mail}", "?username=jonas.weber")  # fmt: skip
"""What a screen may want to be told; the first that it can make something of is taken."""
TASKS = {
    "console-search": "/console/users?q=mo",
    "console-user-new": "/console/users?do=create",
    "console-user-password": "/console/user?id={user}&do=password",
    "console-user-link": "/console/user?id={mira}&do=link",
    "console-user-why-at-client": "/console/user-why?id={user}&client=shop-app",
    "console-client-preview-of-user": "/console/client-preview?id=shop-app&user=jonas.weber",
    "console-user-disable": "/console/user?id={user}&do=disable",
    "console-users-dormant": "/console/users?view=never",
    "console-client-new-web": "/console/client-new?do=create&kind=web",
    "console-client-redirect": "/console/client?id=shop&redirect=https://shop.example/callback/",
    "console-client-secret": "/console/client?id=shop&do=secret",
    "console-branding-edit": "/console/branding?do=edit",
    "account-password": "/account/password",
}
"""What an administrator does of a day (docs/console.md), beside the screens themselves."""


class Camera:
    def __init__(self, browser: Any, *, whole: bool) -> None:
        self.whole = whole
        self.context = browser.new_context(viewport=DESK, device_scale_factor=SHARPER)
        self.context.set_default_timeout(30_000)
        self.page = self.context.new_page()
        self.taken: dict[str, int] = {}

    def go(self, path: str) -> None:
        self.page.goto(seeded.ISSUER + path)

    def take(self, name: str) -> None:
        taken = VARIANTS if self.whole or name in MAIN else VARIANTS[:1]
        for variant, scheme, viewport in taken:
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size(viewport)
            shot = self.page.screenshot(full_page=True, animations="disabled", scale="device")
            self._keep(FOLDER / f"{name}-{variant}.webp", shot)
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(DESK)

    def _keep(self, path: Path, shot: bytes) -> None:
        with Image.open(BytesIO(shot)) as image:
            height = min(image.height, round(HIGHEST * SHARPER))
            cut = image.convert("RGB").crop((0, 0, image.width, height))
        into = BytesIO()
        cut.save(into, "WEBP", quality=60, method=4)
        made = into.getvalue()
        if not path.exists() or path.read_bytes() != made:
            path.write_bytes(made)
        self.taken[path.name] = len(made)

    def shows(self, path: str) -> bool:
        """Whether this address has a page to show, and leads nowhere else."""
        from playwright.sync_api import Error

        try:
            answer = self.page.goto(seeded.ISSUER + path)
        except Error:  # a file to be kept
            return False
        media = answer.headers.get("content-type", "") if answer else ""
        found = answer is not None and answer.status == 200 and media.startswith("text/html")
        return found and self.page.url.removeprefix(seeded.ISSUER) == path


def photograph(camera: Camera, service: Any, app: Any) -> None:
    signing_in(camera, app)
    ids = service.ids
    account(camera)
    console(camera, ids)
    device(camera, service.api)
    leaving(camera)
    branded(camera, service)


def asked() -> str:
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    challenge = urlsafe_b64encode(sha256(b"v" * 43).digest()).rstrip(b"=").decode()
    return "/authorize?" + urlencode(
        {
            "response_type": "code", "client_id": "shop", "redirect_uri": seeded.CALLBACK,
            "scope": "openid profile email orders:read offline_access", "state": "s",
            "code_challenge": challenge, "code_challenge_method": "S256",
        }
    )  # fmt: skip


def signing_in(camera: Camera, app: Any) -> None:
    from identity import clock

    page = camera.page
    camera.go("/sign-in")
    camera.take("sign-in")
    camera.go("/language")
    camera.take("language")
    camera.go("/reset-password")
    camera.take("reset-password")
    camera.go("/authorize?client_id=nobody")
    camera.take("error")
    camera.go(asked())
    camera.take("sign-in-for-application")
    page.fill("#username", seeded.MIRA)
    page.fill("#password", "not the one")
    page.click("form button.primary")
    page.wait_for_selector("[role=alert]")
    camera.take("sign-in-refused")
    page.fill("#password", seeded.PASSWORD)
    page.click("form button.primary")
    page.wait_for_selector("#code")
    camera.take("second-factor")
    page.fill("#code", app.at(int(clock.now())))
    page.click("button[value=code]")
    page.wait_for_selector("#agree")
    camera.take("consent")


def account(camera: Camera) -> None:
    from identity.pages.registry import PAGES

    for entry in PAGES:
        if entry.path.startswith("/account") and camera.shows(entry.path):
            camera.go(entry.path)
            camera.take(entry.path.strip("/").replace("/", "-"))


def console(camera: Camera, ids: dict[str, str]) -> None:
    from identity.pages.console.screens import SCREENS

    for screen in SCREENS:
        addresses = [screen.path + query.format(**ids) for query in MANY]
        address = next(filter(camera.shows, addresses), None)
        if address is None:
            print(f"{screen.path}: has nothing to show")
            continue
        camera.go(address)
        camera.take(screen.path.strip("/").replace("/", "-"))
    for name, address in TASKS.items():
        camera.go(address.format(**ids))
        camera.take(name)


def device(camera: Camera, api: httpx.Client) -> None:
    camera.go("/device")
    camera.take("device")
    form = {"client_id": "television", "scope": "openid profile"}
    answer = api.post("/device_authorization", data=form).raise_for_status().json()
    camera.go(f"/device?{urlencode({'user_code': answer['user_code']})}")
    camera.page.wait_for_selector("#agree")
    camera.take("device-ask")


def leaving(camera: Camera) -> None:
    camera.go("/sign-out")
    camera.take("sign-out")
    camera.page.click("main button.primary, main form button")
    camera.page.wait_for_selector("a.button")
    camera.take("signed-out")


def branded(camera: Camera, service: Any) -> None:
    from identity.directory.branding.logos import drawn
    from identity.service.administration import branding

    with service.db.transaction() as session:
        branding.change(session, {"name": "Lighthouse", "accent": "#0b6b4f"}, None)
        branding.set_logo(session, drawn(seeded.picture("lighthouse")), None)
    camera.go(asked())
    camera.take("sign-in-branded")


def chromiums(port: int) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise SystemExit("there is no chromium here")
    mapped = f"--host-resolver-rules=MAP {seeded.HOST} 127.0.0.1:{port}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", mapped, "--hide-scrollbars"]
        )
        yield browser
        browser.close()


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, seeded.steady() as hand:
        service = seeded.Service(Path(folder))
        try:
            app = service.fill(hand)
            for browser in chromiums(service.port):
                camera = Camera(browser, whole="--all" in sys.argv)
                photograph(camera, service, app)
        finally:
            service.close()
    for left in {path.name for path in FOLDER.glob("*.webp")} - camera.taken.keys():
        (FOLDER / left).unlink()
    total = sum(camera.taken.values())
    print(f"{len(camera.taken)} pictures, {total / 1e6:.1f} MB, in {FOLDER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
