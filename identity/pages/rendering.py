"""Templates to answers: what every page says of itself, and what no page may do.

Templates escape everything (a test forbids `|safe`) and fail on a name that does not exist.
"""

from collections.abc import Iterable, Sequence
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from jinja2 import FileSystemLoader, StrictUndefined, Template

from identity.directory import uris
from identity.errors import IdentityError, InvalidRequest, LockedDown, OAuthError, ServerError
from identity.http.messages import Request, Response
from identity.pages import catalogues, moments
from identity.pages.drawing import icon, icon_of_screen
from identity.pages.languages import Language, speech
from identity.pages.looks import brand
from identity.pages.speaking import Spoken
from identity.pages.static import FOLDER, version
from identity.pages.words import Words, _, counted, said
from identity.records.audit import origin
from identity.settings import Settings

Header = tuple[bytes, bytes]
CONVENIENCES = "conveniences.js"
"""The script of pages on which passwords are typed or recovery codes shown."""
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
FORMS_STAY = "; form-action 'self'"
"""Not on pages whose form leads to a client in the end: Chromium checks every hop."""


def _is_web(uri: str | None) -> bool:
    """Whether people may be led there; a rule may be newer than what is stored."""
    return uri is not None and uris.web_problem(uri) is None


def _shown(value: Any) -> Any:
    """What a template is about to show: marked words in the reader's language. They are escaped
    like everything else."""
    return said(value) if type(value) is Words else value


class Rendering:
    def __init__(self, settings: Settings) -> None:
        self.base = urlsplit(settings.issuer).path.rstrip("/")
        self._settings = settings
        self._environments: dict[str, Spoken] = {}

    def _template(self, name: str) -> Template:
        """For the language of this request, whose catalogue has been read."""
        language = speech.get().language
        environment = self._environments.get(language.tag)
        if environment is None:
            environment = self._environments[language.tag] = self._environment(language)
        return environment.get_template(name)

    def _environment(self, language: Language) -> Spoken:
        environment = Spoken(
            catalogues.of(language).gettext,
            loader=FileSystemLoader(FOLDER.parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=_shown,
            extensions=["jinja2.ext.i18n"],
            auto_reload=False,
            cache_size=-1,
        )
        environment.install_gettext_callables(said, counted, newstyle=True)  # type: ignore[attr-defined]
        environment.tests["web"] = _is_web
        environment.filters |= moments.FILTERS
        environment.globals |= {
            "base": self.base, "version": version(), "mails": self._settings.sends_mail,
            "sign_up": self._settings.accounts.sign_up,
            "icon": icon, "icon_of_screen": icon_of_screen,
        }  # fmt: skip
        return environment

    def page(
        self,
        template: str,
        *,
        status: int = 200,
        headers: Iterable[Header] = (),
        forms_stay: bool = False,
        scripts: Sequence[str] = (),
        **context: Any,
    ) -> Response:
        """`scripts`: the files of `static/` that this page may run."""
        nonce = token_urlsafe(16)
        context |= {"scripts": scripts, "nonce": nonce}
        body = self._template(template).render(
            context, language=speech.get().language, brand=brand.get()
        )
        policy = POLICY + FORMS_STAY if forms_stay else POLICY
        if scripts:
            policy += f"; script-src 'nonce-{nonce}'; connect-src 'self'"
        said = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"same-origin"),
            *headers,
        ]
        return Response(status, said, body.encode())

    def part(self, template: str, **context: Any) -> str:
        """A piece of a page that is under way (`console.streaming`)."""
        made = self._template(template)
        return made.render(context, language=speech.get().language)

    def error(self, request: Request, error: IdentityError) -> Response:
        """With the request's id, by which an operator finds out more, and a way on."""
        who = origin.get()
        title = _("This link does not work") if isinstance(error, OAuthError) else _(error.title)
        if isinstance(error, LockedDown):
            title = _(error.title)
        if isinstance(error, ServerError):
            title = _("Something went wrong")
        headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in error.headers().items()]
        return self.page(
            "error.html",
            status=error.status,
            headers=[header for header in headers if header[0] in (b"retry-after", b"allow")],
            forms_stay=True,
            title=title,
            detail=_(error.detail),
            by_client=isinstance(error, InvalidRequest),
            request_id=who.request_id,
        )

    def signed_out(self, applications: Sequence[str], headers: Iterable[Header] = ()) -> Response:
        return self.page(
            "signed_out.html", headers=headers, forms_stay=True, applications=applications
        )
