"""Whether a page of another origin may read what its client is told (`http.elsewhere`)."""

from identity.directory import uris
from identity.directory.clients.registry import ClientSnapshot
from identity.http import elsewhere


def belongs_to(client: ClientSnapshot) -> None:
    """The request under way is this client's: its own pages may read the answer, be it a refusal.
    Its pages are where its redirect URIs are."""
    page = elsewhere.page.get()
    if page is not None and uris.may_come_from(page.origin, client.settings.redirect_uris):
        page.welcome = True


def of_nobody() -> None:
    """What was sent is no client's, or no more: any page may read that it is refused, so that one
    whose token has expired hears of that and not of a broken network."""
    page = elsewhere.page.get()
    if page is not None:
        page.welcome = True
