"""`/console/users-import`: users from a file. It is looked at first: whoever sends it again to have
it done has seen what it would do. Nothing is kept in between, for the next request may come to
another replica; that it is the same file is known by its digest."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path, PurePath

from identity.errors import NotFound, ValidationFailed
from identity.http.messages import Request, Response
from identity.http.uploads import Upload
from identity.pages.beginning import stepped_up
from identity.pages.console.desk import Deed, Desk, Query, Seat
from identity.pages.console.forms import Form, sentence
from identity.pages.console.screens import screen as own
from identity.pages.console.streaming import MARK, streamed
from identity.pages.registry import House
from identity.pages.words import _
from identity.service import bulk
from identity.service.bulk import Progress

BY_NAME = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
LAYOUTS = {
    "": _("as its name says"), "csv": "CSV", "jsonl": _("NDJSON: a JSON object a line"),
    "keycloak": "Keycloak", "auth0": "Auth0", "firebase": "Firebase",
}  # fmt: skip
MOST_SHOWN = 1_000
"""Lines that are wrong, by themselves; all are counted."""


class Sent(Form):
    """What was sent, and the file beside it: on the disk for as long as `kept` is open."""

    def __init__(self, upload: Upload, path: Path, digest: str, kept: AsyncExitStack) -> None:
        super().__init__((name, value) for name, value in upload.fields if value)
        self.filename, self.path, self.digest, self.kept = upload.filename, path, digest, kept

    @property
    def layout(self) -> str:
        chosen = self.text("format")
        if chosen:
            if chosen not in LAYOUTS:
                raise ValidationFailed([("/format", _("Choose one of them."))])
            return chosen
        found = BY_NAME.get(PurePath(self.filename).suffix.lower())
        if found is None:
            words = _("Its name does not say what it is: choose it.")
            raise ValidationFailed([("/format", words)])
        return found


class UsersImport(Desk):
    screen = own("users_import")

    async def show(self, seat: Seat, query: Query) -> Response:
        return self._asked(seat) if stepped_up(seat.person) else self._prove(seat)

    async def post(self, request: Request) -> Response:
        async def answer(seat: Seat) -> Response:
            if not stepped_up(seat.person):
                return self._prove(seat)  # before anything is read
            async with AsyncExitStack() as stack:
                sent = await _received(request, stack)
                deed = self.deeds.get(sent.text("act"))
                if deed is None:
                    raise NotFound(_("There is no such act."))
                try:
                    return await deed.do(self, seat, request.query, sent)
                except ValidationFailed as error:
                    return self._asked(seat, sent, error)

        return await self._seated(request, answer)

    def _asked(
        self, seat: Seat, sent: Sent | None = None, error: ValidationFailed | None = None
    ) -> Response:
        problems = (
            {where.strip("/"): sentence(words) for where, words in error.errors} if error else {}
        )
        return self.page(
            seat, "users_import", title=_("Import users"), layouts=LAYOUTS, problems=problems,
            layout=sent.text("format") if sent else "", update=bool(sent and sent.ticked("update")),
            status=error.status if error else 200,
        )  # fmt: skip

    async def look(self, seat: Seat, query: Query, form: Form) -> Response:
        assert isinstance(form, Sent)
        return await self._begun(seat, form, dry_run=True)

    async def carry_out(self, seat: Seat, query: Query, form: Form) -> Response:
        assert isinstance(form, Sent)
        if form.text("looked") != form.digest:
            words = _("This is not the file that was looked at. Look at it first.")
            raise ValidationFailed([("/file", words)])
        return await self._begun(seat, form, dry_run=False)

    async def _begun(self, seat: Seat, sent: Sent, *, dry_run: bool) -> Response:
        if not sent.filename:
            raise ValidationFailed([("/file", _("Choose a file."))])
        progress = await bulk.import_users(
            self.services, sent.path, sent.layout,
            update=sent.ticked("update"), dry_run=dry_run,
            standing=seat.standing("users:write"),
        )  # fmt: skip
        title = _("What the file would do") if dry_run else _("Import users")
        page = self.page(
            seat, "users_coming", title=title, dry_run=dry_run, filename=sent.filename, pieces=MARK
        )
        return streamed(page, self._told(seat, sent, progress, sent.kept.pop_all(), dry_run))

    async def _told(
        self,
        seat: Seat,
        sent: Sent,
        progress: AsyncGenerator[Progress, None],
        kept: AsyncExitStack,
        dry_run: bool,
    ) -> AsyncGenerator[str, None]:
        shown = 0
        async with kept:
            kept.push_async_callback(progress.aclose)
            async for each in progress:
                wrong = each.bad_rows[: MOST_SHOWN - shown]
                shown += len(wrong)
                ended = each.done or each.problem is not None
                yield self.rendering.part(
                    "console/users_came.html", at=seat.at, here=seat.here, each=each, ended=ended,
                    wrong=wrong, unshown=each.bad - shown, dry_run=dry_run, sent=sent,
                    problem=sentence(each.problem) if each.problem else "",
                )  # fmt: skip

    deeds = {  # noqa: RUF012
        "look": Deed("import_users", "users:write", look, proof=True),
        "carry_out": Deed("import_users", "users:write", carry_out, proof=True),
    }


async def _received(request: Request, stack: AsyncExitStack) -> Sent:
    upload, digest = Upload(request.header(b"content-type"), request.chunks()), sha256()

    async def content() -> AsyncIterator[bytes]:
        async for piece in upload.file():
            digest.update(piece)
            yield piece

    file = await stack.enter_async_context(bulk.received(content()))
    return Sent(upload, file, digest.hexdigest(), stack)


async def page(house: House) -> UsersImport:
    return UsersImport(house, await house.rendering())
