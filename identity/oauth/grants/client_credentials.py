"""A client acts for itself (RFC 6749 §4.4). Costs no write: its event is batched."""

from dataclasses import dataclass
from typing import ClassVar

from identity.errors import UnauthorizedClient
from identity.oauth.grants.request import Issue, TokenRequest
from identity.records.audit import AuditQueue
from identity.tokens.minting import Subject
from identity.tokens.status.places import Places


@dataclass(frozen=True)
class ClientCredentials:
    queue: AuditQueue
    places: Places
    grant_type: ClassVar[str] = "client_credentials"

    async def authorize(self, request: TokenRequest) -> Issue:
        client = request.client
        if not client.confidential:
            raise UnauthorizedClient("a public client cannot act for itself")
        scope = request.granted(holder=None)
        place = await self.places.take(client.id, request.audience)
        self.queue.put("token.issued", client_id=client.id, grant=self.grant_type, scope=scope)
        return Issue(Subject(client.id), request.audience, scope, place, request.asked_at)
