"""`/branding` and `/clients/{id}/logo`: what the pages look like."""

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response, Security
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, Line, PathId, Text
from identity.api.merge_patch import IfMatch, Patch, etag, merge_patch
from identity.api.problems import administrative
from identity.directory.branding import colours, editing
from identity.directory.branding.current import Brand, Picture, look
from identity.directory.branding.logos import MEDIA, Drawn
from identity.directory.branding.table import Logo
from identity.directory.clients import accounts
from identity.errors import UnsupportedMediaType
from identity.service.administration import branding as administration

Reader = Annotated[Acting, Security(acting, scopes=["branding:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["branding:write"])]
ClientReader = Annotated[Acting, Security(acting, scopes=["clients:read"])]
ClientWriter = Annotated[Acting, Security(acting, scopes=["clients:write"])]

router = APIRouter(tags=["Branding"], route_class=JsonRoute)


def _colour(words: str, example: str) -> Any:
    # The pattern stands here alone: what it refuses is told of by `colours.problem`.
    return Field(default=None, description=words, examples=[example, None])


class BrandingPatch(Patch):
    model_config = ConfigDict(json_schema_extra={"examples": [{"accent": "#0b6b4f"}]})

    name: Line | None = Field(
        default=None, description="Of whoever runs the service; null: Identity.",
        examples=["Lighthouse", None],
    )  # fmt: skip
    accent: Text | None = _colour("Links and buttons, in the light scheme.", "#0b6b4f")
    accent_dark: Text | None = _colour(
        "The same in the dark scheme; null: as much lighter than `accent` as it has to be.",
        "#6fdcb4",
    )
    background: Text | None = _colour("Behind everything, in the light scheme.", "#f3f6f4")
    background_dark: Text | None = _colour("Behind everything, in the dark scheme.", "#0f1512")


class LogoOut(BaseModel):
    url: str = Field(description="Where it is; another picture is somewhere else.")
    width: int
    height: int


class ContrastOut(BaseModel):
    """What is written on what, and how well it can be read (WCAG 2.2, 1.4.3)."""

    scheme: str = Field(examples=["light"])
    what: str = Field(examples=["accent"])
    on: str = Field(examples=["surface"])
    contrast: float = Field(description="To 1; at least 4.5.", examples=[6.71])


class BrandingOut(BaseModel):
    name: str = Field(description="As it is shown.")
    accent: str | None
    accent_dark: str | None
    background: str | None
    background_dark: str | None
    logo: LogoOut | None
    contrasts: list[ContrastOut]


_PICTURE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {media: {"schema": {"type": "string", "format": "binary"}} for media in MEDIA},
    }
}


@router.get(
    "/branding", operation_id="get_branding", summary="Show what the pages look like",
    responses=administrative(),
)  # fmt: skip
async def get_branding(actor: Reader, response: Response) -> BrandingOut:
    return await actor.services.db.read(lambda session: _shown(actor, session, response))


@router.patch(
    "/branding", operation_id="update_branding", summary="Change name and colours of the pages",
    responses=administrative(412, body=True), openapi_extra=merge_patch(BrandingPatch),
)  # fmt: skip
async def update_branding(
    actor: Writer, body: BrandingPatch, response: Response, if_match: IfMatch = None
) -> BrandingOut:
    """A JSON merge patch. Refused where people could not read what comes of it, in either scheme.
    Takes effect at once, everywhere, and in mails."""

    def unit(session: Session) -> BrandingOut:
        administration.change(session, body.members(), if_match)
        return _shown(actor, session, response)

    return await actor.services.db.write(unit)


@router.put(
    "/branding/logo", operation_id="set_logo", summary="Set the logo of the pages",
    responses=administrative(408, 412, 413, 415), openapi_extra=_PICTURE,
)  # fmt: skip
async def set_logo(
    request: Request, actor: Writer, response: Response, if_match: IfMatch = None
) -> BrandingOut:
    """PNG, JPEG or WebP, at most 60 KiB and 2048 pixels on each side. It is drawn anew: what is
    served is made of its pixels alone."""
    made = await _picture(request)

    def unit(session: Session) -> BrandingOut:
        administration.set_logo(session, made, if_match)
        return _shown(actor, session, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/branding/logo", status_code=204, operation_id="delete_logo",
    summary="Do without a logo", responses=administrative(404, 412),
)  # fmt: skip
async def delete_logo(actor: Writer, if_match: IfMatch = None) -> None:
    await actor.services.db.write(lambda session: administration.remove_logo(session, if_match))


@router.get(
    "/clients/{client_id}/logo", operation_id="get_client_logo", summary="Show a client's logo",
    responses=administrative(404),
)  # fmt: skip
async def get_client_logo(actor: ClientReader, client_id: PathId, response: Response) -> LogoOut:
    def unit(session: Session) -> LogoOut:
        client = accounts.get(session, client_id)
        response.headers["etag"] = etag(client.version)
        return _logo_out(actor, _of(editing.logo_of(session, client_id)))

    return await actor.services.db.read(unit)


@router.put(
    "/clients/{client_id}/logo", operation_id="set_client_logo",
    summary="Set the logo that people see beside a client's name",
    responses=administrative(404, 408, 409, 412, 413, 415), openapi_extra=_PICTURE,
)  # fmt: skip
async def set_client_logo(
    request: Request,
    actor: ClientWriter,
    client_id: PathId,
    response: Response,
    if_match: IfMatch = None,
) -> LogoOut:
    """As `PUT /branding/logo`. Not of clients that registered themselves: nobody has vouched for
    them, and a logo would say otherwise."""
    made = await _picture(request)

    def unit(session: Session) -> LogoOut:
        client = administration.set_logo_of(session, client_id, made, actor.held, if_match)
        response.headers["etag"] = etag(client.version)
        return _logo_out(actor, _of(editing.logo_of(session, client_id)))

    return await actor.services.db.write(unit)


@router.delete(
    "/clients/{client_id}/logo", status_code=204, operation_id="delete_client_logo",
    summary="Show a client without a logo", responses=administrative(404, 412),
)  # fmt: skip
async def delete_client_logo(
    actor: ClientWriter, client_id: PathId, if_match: IfMatch = None
) -> None:
    await actor.services.db.write(
        lambda session: administration.remove_logo_of(session, client_id, actor.held, if_match)
    )


async def _picture(request: Request) -> Drawn:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in MEDIA:
        raise UnsupportedMediaType(f"send one of {', '.join(MEDIA)}")
    return await administration.picture(await request.body())


def _of(logo: Logo) -> Picture:
    return Picture(logo.digest, logo.width, logo.height)


def _logo_out(actor: Acting, logo: Picture) -> LogoOut:
    address = actor.address(f"/static/{logo.file}")
    return LogoOut(url=address, width=logo.width, height=logo.height)


def _shown(actor: Acting, session: Session, response: Response) -> BrandingOut:
    brand: Brand = look(session)
    response.headers["etag"] = etag(brand.version)
    contrasts = [
        ContrastOut(
            scheme=pair.scheme, what=pair.what, on=pair.on, contrast=int(pair.contrast * 100) / 100
        )
        for pair in colours.pairs(brand.chosen)
    ]
    logo = _logo_out(actor, brand.logo) if brand.logo else None
    return BrandingOut(name=brand.name, **brand.chosen, logo=logo, contrasts=contrasts)
