"""By which name a client knows a user: everybody's, or one that its sector alone has (OpenID
Connect Core §8.1)."""

import hmac
from urllib.parse import urlsplit

from identity.directory.clients.registry import ClientSnapshot
from identity.keys.master import MasterKey
from identity.tokens.minting import Subject
from identity.verifier.gate.encoding import b64url_encode


class Subjects:
    def __init__(self, master: MasterKey) -> None:
        # The oldest: a name must not change when the master key is rotated.
        self._key = master.derive_all("pairwise")[-1]

    def of(self, client: ClientSnapshot, user_id: str) -> str:
        if not is_pairwise(client):
            return user_id
        said = f"{sector(client)}\n{user_id}".encode()
        return b64url_encode(hmac.digest(self._key, said, "sha256")).decode()

    def as_known(self, client: ClientSnapshot, subject: Subject) -> Subject:
        """What tokens tell this client of a subject: of a pairwise one no more than that name."""
        if is_pairwise(client) and subject.session is not None:
            return Subject(self.of(client, subject.id), session=subject.session)
        return subject


def is_pairwise(client: ClientSnapshot) -> bool:
    return client.settings.subject_type == "pairwise"


def sector(client: ClientSnapshot) -> str:
    """The host of `sector_identifier_uri`, or of the redirect URIs, which then have one."""
    settings = client.settings
    uris = (settings.sector_identifier_uri, *settings.redirect_uris)
    for uri in filter(None, uris):
        if host := urlsplit(uri).hostname:
            return host
    return client.id
