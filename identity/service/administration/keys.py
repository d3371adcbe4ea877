"""Acts on signing keys."""

from sqlmodel import Session, col, select

from identity.keys import rotation, upkeep, uptake
from identity.keys.table import SigningKey
from identity.keys.uptake import Uptake
from identity.service.wiring import Services


def listed(session: Session) -> list[SigningKey]:
    """Newest first; there are few."""
    query = select(SigningKey).order_by(col(SigningKey.created_at).desc(), col(SigningKey.kid))
    return list(session.exec(query))


def with_uptake(session: Session) -> tuple[list[SigningKey], dict[str, Uptake]]:
    """The same, and by kid who has those that do not sign yet."""
    return listed(session), uptake.uptakes(session)


async def rotate(
    services: Services, *, now: bool = False, algorithm: str | None = None
) -> SigningKey:
    """The key that signs next. `algorithm`: which keys; None: those of whatever chose none."""
    settings = services.settings
    serves = rotation.serving(settings, algorithm)
    material = await upkeep.material(settings.keys.algorithm_for(serves), services.master)
    return await services.db.write(
        lambda session: rotation.rotate(session, settings, material, now=now, serves=serves)
    )


async def revoke(services: Services, kid: str) -> SigningKey:
    """Everything that it signed is dead at once; another takes its place."""
    algorithm = await services.db.read(
        lambda session: rotation.replacing(session, services.settings, kid)
    )
    material = await upkeep.material(algorithm, services.master)
    return await services.db.write(
        lambda session: rotation.revoke(session, services.settings, kid, material)
    )
