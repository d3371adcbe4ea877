"""What kinds of application there are, and what is right for each: the wizard asks for the rest."""

from typing import Any, Final, NamedTuple

from identity.pages.words import _

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


class Kind(NamedTuple):
    name: str
    title: str
    words: str
    type: str
    grants: tuple[str, ...]
    redirects: bool
    """Whether people come back to it at an address."""
    example: str = ""
    settings: dict[str, Any] = {}  # noqa: RUF012
    acts_alone: bool = False


CODE = ("authorization_code", "refresh_token")
KINDS: Final = (
    Kind(
        "web", _("Web application"),
        _("Runs on a server and can keep a secret: Django, Rails, Spring, PHP."),
        "confidential", CODE, True, "https://app.example.com/callback",
    ),
    Kind(
        "spa", _("Single-page application"),
        _("Runs in the browser alone, and can keep no secret: React, Vue, Svelte."),
        "public", CODE, True, "https://app.example.com/callback",
    ),
    Kind(
        "native", _("Phone or desktop app"),
        _("Is installed by its users; comes back by a scheme of its own or a loopback address."),
        "public", CODE, True, "com.example.app:/callback",
    ),
    Kind(
        "service", _("Service"),
        _("Acts for itself, with nobody behind it: a job, a microservice, a CI run."),
        "confidential", ("client_credentials",), False, acts_alone=True,
    ),
    Kind(
        "resource", _("Resource server"),
        _("Asks whether tokens are good, and gets none itself: an API behind a gateway."),
        "confidential", (), False, acts_alone=True,
    ),
    Kind(
        "device", _("Device without a keyboard"),
        _("Shows a code that somebody types on their phone: a television, a command line."),
        "public", (DEVICE, "refresh_token"), False,
    ),
    Kind(
        "mcp", _("MCP client"),
        _("A tool that models use; public, with a redirect to the user's own machine."),
        "public", CODE, True, "http://127.0.0.1/callback",
    ),
)  # fmt: skip


def kind(name: str) -> Kind | None:
    return next((each for each in KINDS if each.name == name), None)
