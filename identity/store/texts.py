"""Which texts a database can hold."""


def storable(text: str) -> bool:
    """PostgreSQL stores no NUL, and lone surrogates are no Unicode text."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
