"""What a user is called, and what counts as the same name."""

from functools import cache
from typing import Any
from unicodedata import normalize

from identity.errors import ValidationFailed
from identity.records.redacting import REDACTED, looks_secret

LONGEST = 64


@cache
def _usernames() -> Any:
    """RFC 8265 §3.3, read from tables when somebody is first named."""
    from precis_i18n import get_profile

    return get_profile("UsernameCaseMapped")


def username(text: str, pointer: str = "/username") -> str:
    """`text` after PRECIS UsernameCaseMapped (RFC 8265 §3.3), 1 to 64 characters."""
    try:
        name: str = _usernames().enforce(text)
    except UnicodeError:
        raise ValidationFailed(
            [(pointer, "may hold letters, digits and punctuation, no spaces or control characters")]
        ) from None
    if len(name) > LONGEST:
        raise ValidationFailed([(pointer, f"may be {LONGEST} characters long at the most")])
    return name


def email(text: str, pointer: str = "/email") -> str:
    """A syntactically valid address; its domain in lower case."""
    from email_validator import EmailNotValidError, validate_email  # only administration asks

    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValidationFailed([(pointer, str(error).rstrip("."))]) from None


def login_key(text: str) -> str:
    """The form under which a username or e-mail address is looked up; any text has one."""
    try:
        key: str = _usernames().enforce(text)
    except UnicodeError:
        key = normalize("NFC", text[:512].encode("utf-8", "replace").decode()).lower()
    return key.replace("\0", "")


def as_typed(text: str) -> str:
    """What the audit keeps of `text`, typed for a name. Many a password is typed there: what cannot
    be a name, or has the form of a secret, is not kept."""
    try:
        _usernames().enforce(text)
    except UnicodeError:
        return REDACTED
    return REDACTED if looks_secret(text) else text[:100]
