"""What browsers and password managers ask for at the domain that passkeys belong to: where people
see to them, and which other origins may use them (WebAuthn 3 §5.11.1)."""

from identity.errors import MethodNotAllowed, NotFound
from identity.http.messages import Request, Response, json_response
from identity.pages.registry import House


class WellKnown:
    def __init__(self, house: House) -> None:
        party = house.services.passkeys.party
        base = house.services.settings.issuer.rstrip("/")
        self._documents: dict[str, dict[str, object]] = {}
        if party.possible:
            self._documents["passkey-endpoints"] = {
                "enroll": f"{base}/account/passkeys",
                "manage": f"{base}/account/factors",
            }
        if party.related:
            self._documents["webauthn"] = {"origins": [party.origins[0], *party.related]}

    async def get(self, request: Request) -> Response:
        document = self._documents.get(request.segment)
        if document is None:
            raise NotFound("there is no such document")
        return json_response(document)

    async def post(self, request: Request) -> Response:
        raise MethodNotAllowed(["GET"])


async def page(house: House) -> WellKnown:
    return WellKnown(house)
