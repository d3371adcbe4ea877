"""`/trusted-issuers`: whose word counts for which program asks, or for whom."""

from typing import Annotated

from fastapi import APIRouter, Response, Security
from sqlmodel import Session

from identity.api.actor import Acting, acting
from identity.api.bodies import JsonRoute, PathId
from identity.api.issuers.schemas import IssuerOut, IssuerPatch, NewIssuer
from identity.api.merge_patch import IfMatch, etag, merge_patch
from identity.api.paging import Page, Paged, Search, listed
from identity.api.problems import administrative
from identity.directory.issuers import editing
from identity.directory.issuers.table import TrustedIssuer
from identity.service.administration import access as administration

Reader = Annotated[Acting, Security(acting, scopes=["clients:read"])]
Writer = Annotated[Acting, Security(acting, scopes=["clients:write"])]

router = APIRouter(prefix="/trusted-issuers", tags=["Trusted issuers"], route_class=JsonRoute)


@router.get(
    "", operation_id="list_trusted_issuers", summary="List trusted issuers",
    responses=administrative(),
)  # fmt: skip
async def list_issuers(actor: Reader, window: Paged, q: Search = None) -> Page[IssuerOut]:
    """In the order of their making. `q` is looked for in issuers and names."""
    query = editing.matching(q)

    def unit(session: Session) -> Page[IssuerOut]:
        issuers, following = window.take(session, query, TrustedIssuer.id)
        return Page(items=[IssuerOut.of(issuer) for issuer in issuers], next=following)

    return await listed(actor.services.db, unit)


@router.post(
    "", status_code=201, operation_id="create_trusted_issuer", summary="Trust an issuer",
    responses=administrative(409, body=True),
)  # fmt: skip
async def create_issuer(actor: Writer, body: NewIssuer, response: Response) -> IssuerOut:
    """Takes every built-in scope: the issuer's word decides which clients, and perhaps which users,
    its tokens are."""

    def unit(session: Session) -> IssuerOut:
        made = editing.create(
            session,
            issuer=body.issuer,
            chosen=body.model_dump(exclude={"issuer"}),
            own_issuer=actor.services.settings.issuer,
            held=actor.held,
        )
        return _shown(made, response)

    created = await actor.services.db.write(unit)
    response.headers["location"] = actor.address(f"/trusted-issuers/{created.id}")
    return created


@router.get(
    "/{issuer_id}", operation_id="get_trusted_issuer", summary="Show a trusted issuer",
    responses=administrative(404),
)  # fmt: skip
async def get_issuer(actor: Reader, issuer_id: PathId, response: Response) -> IssuerOut:
    return await actor.services.db.read(
        lambda session: _shown(editing.get(session, issuer_id), response)
    )


@router.patch(
    "/{issuer_id}", operation_id="update_trusted_issuer", summary="Change a trusted issuer",
    responses=administrative(404, 412, body=True), openapi_extra=merge_patch(IssuerPatch),
)  # fmt: skip
async def update_issuer(
    actor: Writer,
    issuer_id: PathId,
    body: IssuerPatch,
    response: Response,
    if_match: IfMatch = None,
) -> IssuerOut:
    """A JSON merge patch; `jwks` is replaced as a whole. Takes effect at once."""

    def unit(session: Session) -> IssuerOut:
        found = administration.change_issuer(
            session,
            issuer_id,
            body.members(),
            own_issuer=actor.services.settings.issuer,
            held=actor.held,
            if_match=if_match,
        )
        return _shown(found, response)

    return await actor.services.db.write(unit)


@router.delete(
    "/{issuer_id}", status_code=204, operation_id="delete_trusted_issuer",
    summary="Trust an issuer no longer", responses=administrative(404, 412),
)  # fmt: skip
async def delete_issuer(actor: Writer, issuer_id: PathId, if_match: IfMatch = None) -> None:
    """Nothing that it says counts any more. What was issued on its word before runs out."""
    await actor.services.db.write(
        lambda session: administration.delete_issuer(session, issuer_id, actor.held, if_match)
    )


def _shown(issuer: TrustedIssuer, response: Response) -> IssuerOut:
    response.headers["etag"] = etag(issuer.version)
    return IssuerOut.of(issuer)
