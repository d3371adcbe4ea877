"""Entity tags that keep two editors from undoing each other's work unseen (RFC 9110 §13.1.1)."""

from identity.errors import PreconditionFailed


def etag(version: int) -> str:
    """A resource's version as a strong entity tag."""
    return f'"{version}"'


def check_unchanged(if_match: str | None, version: int) -> None:
    """Raise `PreconditionFailed` unless `If-Match` is absent, `*`, or lists `version`.

    Called in the transaction that changes the resource, its row locked.
    """
    if if_match is None or if_match.strip() == "*":
        return
    if etag(version) not in (tag.strip() for tag in if_match.split(",")):
        raise PreconditionFailed(f"the version is {etag(version)} by now")
