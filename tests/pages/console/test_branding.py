"""The screens on which an administrator says what the pages look like."""

import httpx
import pytest

from tests.browsing import Browser, code_client
from tests.pages.console.sitting import act, administrator, at, seated, somebody
from tests.pictures import png
from tests.world import World


async def hand_in(browser: Browser, address: str, picture: bytes, **fields: str) -> httpx.Response:
    """As a browser sends a form that has a file."""
    page = await browser.get(address)
    assert 'enctype="multipart/form-data"' in page.answer.text
    version = page.forms[-1].fields.get("version", "")
    return await browser._api.post(
        address,
        data={"act": "logo", "version": version, **fields},
        files={"logo": ("logo.png", picture, "image/png")} if picture else {"logo": ("", b"")},
        headers={"origin": browser.origin, "sec-fetch-site": "same-origin"},
    )


async def test_name_colours_and_logo_are_set_by_forms(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    here = at("/branding", do="edit")
    page = await act(browser, here, "edit", name="Lighthouse", accent="#0b6b4f")
    assert page.status == 200 and "Saved." in page.text and "made from the light one" in page.text
    answer = await hand_in(browser, at("/branding", do="logo"), png(200, 50))
    assert answer.status_code == 303, answer.text
    page = await browser.get(at("/branding"))
    assert "200 × 50" in page.text and "a wordmark" in page.text
    assert "· Lighthouse" in page.title
    page = await act(browser, at("/branding"), "no_logo")
    assert "200 × 50" not in page.text
    # What nobody touched stays; what is empty is as the pages come.
    page = await act(browser, here, "edit", name="", accent="#0b6b4f")
    assert "· Identity" in page.title and "#0b6b4f" in page.text


async def test_what_could_not_be_read_is_said_at_its_field(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    page = await act(browser, at("/branding", do="edit"), "edit", name="A", accent="#ffcc00")
    assert page.status == 422
    assert 'id="accent-problem"' in page.answer.text and "would do" in page.text
    assert 'value="#ffcc00"' in page.answer.text


@pytest.mark.parametrize(
    ("picture", "words"),
    [(b"<svg/>", "must be a picture"), (b"", "This is needed."), (png(10, 10), "16 to 2048")],
)
@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_what_is_no_logo_is_refused_in_words(
    world: World, picture: bytes, words: str
) -> None:
    administrator(world)
    answer = await hand_in(await seated(world), at("/branding", do="logo"), picture)
    assert answer.status_code == 422 and words in answer.text


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_somebody_elses_change_is_not_undone_unseen(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    stale = (await browser.get(at("/branding", do="edit"))).forms[-1].fields["version"]
    await act(browser, at("/branding", do="edit"), "edit", name="First")
    page = await act(browser, at("/branding", do="edit"), "edit", name="Second", version=stale)
    assert page.status == 412 and "First" in page.text and "Second" in page.answer.text
    answer = await hand_in(browser, at("/branding", do="logo"), png(), version=stale)
    assert answer.status_code == 412


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_client_has_a_logo_of_its_own(world: World) -> None:
    administrator(world)
    code_client(world)
    browser = await seated(world)
    page = await browser.get(at("/client", id="shop"))
    assert "/console/client-logo?id=shop" in page.answer.text
    answer = await hand_in(browser, at("/client-logo", id="shop", do="logo"), png(90, 30))
    assert answer.status_code == 303, answer.text
    page = await browser.get(at("/client-logo", id="shop"))
    assert "90 × 30" in page.text
    page = await act(browser, at("/client-logo", id="shop"), "no_logo")
    assert "It has none." in page.text
    world.change_client("shop", self_registered=True)
    page = await browser.get(at("/client-logo", id="shop"))
    assert "nobody has vouched" in page.text and "do=logo" not in page.answer.text
    answer = await hand_in(browser, at("/client-logo", id="shop", do="logo"), png())
    assert answer.status_code == 409


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_who_only_reads_changes_nothing(world: World) -> None:
    somebody(world, "branding:read", "clients:read")
    code_client(world)
    browser = await seated(world, "ada")
    page = await browser.get(at("/branding"))
    assert page.status == 200 and "do=edit" not in page.answer.text
    for address in (at("/branding", do="edit"), at("/client-logo", id="shop", do="logo")):
        assert (await browser.get(address)).status == 403
    answer = await browser._api.post(
        at("/branding", do="logo"),
        data={"act": "logo"},
        files={"logo": ("logo.png", png(), "image/png")},
        headers={"origin": browser.origin, "sec-fetch-site": "same-origin"},
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("dialect", ["sqlite"])
async def test_a_form_from_elsewhere_sets_no_logo(world: World) -> None:
    administrator(world)
    browser = await seated(world)
    answer = await browser._api.post(
        at("/branding", do="logo"),
        data={"act": "logo"},
        files={"logo": ("logo.png", png(), "image/png")},
        headers={"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
    )
    assert answer.status_code == 403
    assert "as it comes" in (await browser.get(at("/branding"))).text
