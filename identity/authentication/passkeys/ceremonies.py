"""The two ceremonies of WebAuthn 3 (§7.1, §7.2): what a browser is asked for, and whether what it
answers is right. `webauthn` checks; what it leaves to its caller is checked here.

Texts and objects are the JSON that browsers make of credentials (§5.1): `RegistrationResponseJSON`,
`AuthenticationResponseJSON`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from identity.authentication.passkeys.errors import PasskeyRefused
from identity.authentication.passkeys.relying import RelyingParty
from identity.dataclass import dataclass
from identity.verifier.gate.encoding import b64url_decode, b64url_encode

T = TypeVar("T")
ALGORITHMS = (-7, -8, -257)
"""ES256, EdDSA, RS256: what authenticators have (COSE)."""
LONGEST = 16 * 1024
"""Characters of an answer; without attestations none comes near."""
LONGEST_ID = 1023
"""Octets of a credential's id (§7.1 step 25)."""
TIMEOUT = 5 * 60 * 1000
"""Milliseconds that the browser may show its dialogue."""
_TRANSPORTS = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal"})

Options = dict[str, Any]
Descriptors = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What came, as far as it has to be read before it is checked."""

    document: dict[str, Any]
    credential_id: str
    challenge: bytes
    user_handle: str | None


@dataclass(frozen=True)
class Made:
    """A new key."""

    credential_id: str
    public_key: str
    sign_count: int
    aaguid: str
    transports: list[str]
    backup_eligible: bool
    backed_up: bool


@dataclass(frozen=True)
class Signed:
    """What a right answer says."""

    sign_count: int
    backup_eligible: bool
    backed_up: bool


def to_make(
    party: RelyingParty,
    challenge: bytes,
    user_id: str,
    username: str,
    shown: str,
    there: Descriptors,
) -> Options:
    """`PublicKeyCredentialCreationOptionsJSON`. `there`: keys that are not to be made again."""
    return {
        "rp": {"id": party.id, "name": party.id},
        "user": {"id": _text(user_id.encode()), "name": username, "displayName": shown},
        "challenge": _text(challenge),
        "pubKeyCredParams": [{"type": "public-key", "alg": each} for each in ALGORITHMS],
        "timeout": TIMEOUT,
        "excludeCredentials": list(there),
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "attestation": "none",
        "extensions": {"credProps": True},
    }


def to_sign(party: RelyingParty, challenge: bytes, allowed: Descriptors = ()) -> Options:
    """`PublicKeyCredentialRequestOptionsJSON`. `allowed`: none lets people choose."""
    return {
        "rpId": party.id,
        "challenge": _text(challenge),
        "timeout": TIMEOUT,
        "userVerification": "required",
        "allowCredentials": list(allowed),
    }


def read(text: str) -> Answer:
    """Raises `PasskeyRefused`."""
    if len(text) > LONGEST:
        raise PasskeyRefused("the answer is too long")
    return _trying(_read, text)


def check_made(party: RelyingParty, answer: Answer) -> Made:
    """The key, if all of §7.1 holds. Its challenge has been checked. Raises `PasskeyRefused`."""
    made = _trying(_check_made, party, answer)
    if made.credential_id != answer.credential_id:
        raise PasskeyRefused("the credential's id is not the one that was said")
    return made


def check_signed(party: RelyingParty, answer: Answer, public_key: str) -> Signed:
    """What it says, if all of §7.2 holds but for the counter, which its caller judges."""
    return _trying(_check_signed, party, answer, public_key)


def _read(text: str) -> Answer:
    document = json.loads(text)
    response = document["response"]
    told = json.loads(b64url_decode(response["clientDataJSON"].encode()))
    if told.get("crossOrigin", False) is not False or "topOrigin" in told:
        raise PasskeyRefused("asked for by a page within another's")
    handle = response.get("userHandle")
    return Answer(
        document=document,
        credential_id=_text(b64url_decode(document["id"].encode())),
        challenge=b64url_decode(told["challenge"].encode()),
        user_handle=b64url_decode(handle.encode()).decode() if handle else None,
    )


def _check_made(party: RelyingParty, answer: Answer) -> Made:
    import webauthn
    from webauthn.helpers.cose import COSEAlgorithmIdentifier
    from webauthn.helpers.structs import CredentialDeviceType

    found = webauthn.verify_registration_response(
        credential=answer.document,
        expected_challenge=answer.challenge,
        expected_rp_id=party.id,
        expected_origin=list(party.origins),
        require_user_verification=True,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(each) for each in ALGORITHMS],
    )
    if len(found.credential_id) > LONGEST_ID:
        raise PasskeyRefused("the credential's id is too long")
    said = answer.document["response"].get("transports") or []
    return Made(
        credential_id=_text(found.credential_id),
        public_key=_text(found.credential_public_key),
        sign_count=found.sign_count,
        aaguid=found.aaguid,
        transports=sorted(_TRANSPORTS.intersection(each for each in said if isinstance(each, str))),
        backup_eligible=found.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
        backed_up=found.credential_backed_up,
    )


def _check_signed(party: RelyingParty, answer: Answer, public_key: str) -> Signed:
    import webauthn
    from webauthn.helpers.structs import CredentialDeviceType

    found = webauthn.verify_authentication_response(
        credential=answer.document,
        expected_challenge=answer.challenge,
        expected_rp_id=party.id,
        expected_origin=list(party.origins),
        credential_public_key=b64url_decode(public_key.encode()),
        credential_current_sign_count=0,  # below which nothing falls: that is no proof
        require_user_verification=True,
    )
    return Signed(
        sign_count=found.new_sign_count,
        backup_eligible=found.credential_device_type == CredentialDeviceType.MULTI_DEVICE,
        backed_up=found.credential_backed_up,
    )


def _trying(check: Callable[..., T], *given: Any) -> T:
    """Whatever octets come, the answer is that they are not accepted: the library's parsers raise
    what Python raises."""
    try:
        return check(*given)
    except PasskeyRefused:
        raise
    except Exception as error:
        raise PasskeyRefused(_why(error)) from None


def _why(error: Exception) -> str:
    """One of few: what refusals have in common they are counted by (`AuditQueue.refused`), so none
    of it is what was sent."""
    name = type(error).__name__
    return str(error).partition('"')[0].strip()[:80] if name.startswith("Invalid") else name


def _text(octets: bytes) -> str:
    return b64url_encode(octets).decode()
