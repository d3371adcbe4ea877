"""What a person may do about a device that waits for them, for the page `/device`."""

from identity.authentication import levels
from identity.authentication.guesses import Guesses
from identity.clock import now
from identity.dataclass import dataclass
from identity.directory import consents
from identity.directory.clients.registry import ClientSnapshot
from identity.errors import UnmetAuthenticationRequirements
from identity.oauth.grants.device_code import DeviceCode
from identity.records import audit
from identity.service.interactions import Person
from identity.service.wiring import Services
from identity.store import Work
from identity.tokens import rights
from identity.tokens.devices import answering, user_codes
from identity.tokens.devices.answering import WaitingDevice
from identity.verifier.levels import meets

A_MOMENT = 60
"""Seconds that whoever has just signed in may take to answer, however short a time is asked for."""


@dataclass(frozen=True, slots=True)
class DeviceInteraction:
    """A device that waits, as this person sees it (`service.interactions.Device`)."""

    device: WaitingDevice
    client: ClientSnapshot
    scopes: tuple[str, ...]
    must_prove: bool

    @property
    def user_code(self) -> str:
        return user_codes.shown(self.device.user_code)


class DeviceAnswers:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._own = frozenset({services.settings.audience, services.settings.issuer})

    async def find(self, person: Person, typed: str) -> DeviceInteraction | None:
        """None where no device that waits has this code, which counts as a guess. Raises
        `TooManyRequests`, and OAuth errors for what the client cannot have."""
        services = self._services
        guesses = Guesses(services.throttle, person.user.id, audit.origin.get().address)
        await guesses.check(services.db)
        code = user_codes.parse(typed)
        device = await answering.find(services.db, code) if code else None
        client = await services.clients.get(device.client_id) if device else None
        if device is None or client is None or not _may(client):
            await services.db.write_plain(guesses.wrong)
            services.queue.refused("device.guessed", {}, subject=person.user.id)
            return None
        scopes = services.scopes.at_hand("*") or await services.scopes.get("*") or {}
        resources = device.resources
        own = resources[0] if len(resources) == 1 and resources[0] not in self._own else None
        granted = rights.granted_scopes(client, person.user, device.scope, scopes, own)
        return DeviceInteraction(device, client, granted, _must_prove(client, person))

    async def allow(self, person: Person, waiting: DeviceInteraction) -> bool:
        """False where it does not wait any more. What was agreed to is remembered, and can be
        taken back like any other consent; the page asks each time all the same."""

        def unit(work: Work) -> bool:
            client, session = waiting.client, person.session
            if not answering.allow(
                work,
                waiting.device,
                user_id=person.user.id,
                browser_session_id=session.id,
                scopes=waiting.scopes,
                authenticated_at=session.authenticated_at,
                amr=session.amr,
                acr=session.acr,
            ):
                return False
            if not client.settings.first_party:
                consents.grant(work, person.user.id, client, waiting.scopes)
            audit.record(
                work, "device.allowed", subject=person.user.id, client_id=client.id,
                scope=" ".join(waiting.scopes),
            )  # fmt: skip
            return True

        return await self._services.db.write_plain(unit)

    async def decline(self, person: Person, waiting: DeviceInteraction) -> bool:
        def unit(work: Work) -> bool:
            if not answering.decline(work, waiting.device):
                return False
            audit.record(
                work, "device.declined", outcome="refused", subject=person.user.id,
                client_id=waiting.client.id,
            )  # fmt: skip
            return True

        return await self._services.db.write_plain(unit)


def _may(client: ClientSnapshot) -> bool:
    return client.active and DeviceCode.grant_type in client.grants


def _must_prove(client: ClientSnapshot, person: Person) -> bool:
    """Whether the client wants people to have signed in later, or more surely. A device cannot say
    so in a request, so what it is registered for counts."""
    longest, session = client.settings.default_max_age, person.session
    if longest is not None:
        longest = max(longest, A_MOMENT)
        if session.authenticated_at.timestamp() < now() - longest:
            return True
    wanted = levels.known(client.settings.default_acr_values)
    if not wanted:
        return False
    level = levels.least_reachable(wanted, person.user.highest)
    if level is None:
        raise UnmetAuthenticationRequirements
    return not meets(session.acr, level)
