"""A client acts for itself (RFC 6749 §4.4). Costs no write: its event is batched."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from identity.dataclass import dataclass
from identity.errors import UnauthorizedClient
from identity.oauth.grants.request import Issue, TokenRequest
from identity.records.audit import AuditQueue
from identity.tokens.minting import Subject
from identity.tokens.status.places import Places

if TYPE_CHECKING:
    from identity.service.wiring import Services


@dataclass(frozen=True)
class ClientCredentials:
    queue: AuditQueue
    places: Places
    grant_type: ClassVar[str] = "client_credentials"
    form: ClassVar[Mapping[str, Any]] = {}
    example: ClassVar[Mapping[str, str]] = {}
    for_itself: ClassVar[bool] = True
    logs_in: ClassVar[bool] = False
    by_choice: ClassVar[bool] = False

    @classmethod
    def of(cls, services: "Services") -> Self:
        return cls(services.queue, services.places)

    async def authorize(self, request: TokenRequest) -> Issue:
        client = request.client
        if not client.confidential:
            raise UnauthorizedClient("a public client cannot act for itself")
        request.admit(None)
        scope = request.granted(holder=None)
        place = await self.places.take(client.id, request.audience)
        self.queue.put("token.issued", client_id=client.id, grant=self.grant_type, scope=scope)
        return Issue(Subject(client.id), request.audience, scope, place, request.asked_at)
