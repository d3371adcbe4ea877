"""What a program says of itself, whatever it says."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from identity.directory.clients import self_described
from identity.directory.clients.self_described import GRANTS, MAY_SAY, NEVER, TOLD
from identity.errors import InvalidClientMetadata, InvalidRedirectUri

NAMES = sorted(MAY_SAY | NEVER | {"client_name", "grant_types", "scope", "type", "audiences"})
TEXTS = st.sampled_from(
    ["", "none", "client_secret_basic", "private_key_jwt", "RS256", "openid", "openid *", "code",
     "https://notes.example/callback", "javascript:alert(1)", "com.example.app:/x", "password",
     "authorization_code", "http://127.0.0.1/cb", "pairwise", "groups", "users:write"]
) | st.text(max_size=20)  # fmt: skip
VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


@given(DOCUMENTS, st.booleans())
def test_it_is_refused_by_name_or_stays_small(document: dict[str, Any], public: bool) -> None:
    try:
        made = self_described.read(document, TOLD, GRANTS, public=public)
    except (InvalidClientMetadata, InvalidRedirectUri):
        return
    assert set(made.scopes) <= set(TOLD) and set(made.default_scopes) <= set(made.scopes)
    assert set(made.grants) <= set(GRANTS)
    assert not NEVER & made.settings.keys()
    assert made.type == "public" or not public
    assert made.name.isprintable() and made.name
    for uri in made.settings.get("redirect_uris", ()):
        assert uri.startswith(("https://", "http://127.0.0.1", "http://localhost", "com.")), uri
