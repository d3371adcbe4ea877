"""How surely somebody is who they say: `acr`, ascending (OpenID Connect Core §2)."""

from collections.abc import Collection
from typing import Final, NamedTuple

from identity.clock import now
from identity.verifier.levels import LEVELS, meets

STEP_UP: Final = 5 * 60
"""Seconds for which a proof is good for what matters most: factors, passwords, keys."""


class Proof(NamedTuple):
    """How somebody has just proved who they are."""

    amr: tuple[str, ...]
    """RFC 8176."""
    acr: str


BY_PASSWORD: Final = Proof(("pwd",), "aal1")
BY_PASSWORD_AND_CODE: Final = Proof(("pwd", "otp", "mfa"), "aal2")


def by_passkey(*, in_one_device: bool, password: bool) -> Proof:
    """A key and what unlocked it. `in_one_device`: it cannot be copied, as those in software are
    from one device to the next. `password`: was given beside it."""
    key = "hwk" if in_one_device else "swk"
    return Proof((*(("pwd",) if password else ()), key, "user", "mfa"), "phr")


def reachable(*, passkeys: bool) -> tuple[str, ...]:
    """What anybody can prove here; `passkeys`: whether they are possible here."""
    return LEVELS if passkeys else LEVELS[:-1]


def known(wanted: Collection[str]) -> tuple[str, ...]:
    """Those of ours, in the order wanted."""
    return tuple(level for level in wanted if level in LEVELS)


def stepped_up(acr: str | None, proven_at: float, *, second_factor: bool) -> bool:
    """Whether somebody has proved who they are so lately (Unix time), and as surely as they can,
    that what matters most may be done. `second_factor`: whether they have one."""
    recent = int(now()) - int(proven_at) <= STEP_UP
    return recent and (not second_factor or meets(acr, "aal2"))


def least_reachable(wanted: Collection[str], highest: str) -> str | None:
    """The lowest of these levels, all ours, that somebody can meet who can prove `highest` at the
    most; None where there is none."""
    met = [level for level in wanted if meets(highest, level)]
    return min(met, key=LEVELS.index, default=None)
