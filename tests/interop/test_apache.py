"""Apache's mod_oauth2 as Debian ships it, unmodified: what it takes of our tokens by the published
keys and by introspection."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.interop.conftest import Issued
from tests.interop.deployment import AUDIENCE, bearer, sibling
from tests.serving import ADMIN_PASSWORD

MODULES = Path("/usr/lib/apache2/modules")
APACHE = shutil.which("apache2", path="/usr/sbin:/usr/bin")
LOADED = ("mpm_event", "authn_core", "authz_core", "authz_user", "oauth2")
NOT_ITS = {"EdDSA"}
"""libcjose, on which it rests, knows no OKP keys."""

pytestmark = pytest.mark.skipif(
    APACHE is None or not (MODULES / "mod_oauth2.so").exists(),
    reason="no Apache here (on Debian: apt-get install apache2 libapache2-mod-oauth2)",
)

CONFIG = """
ServerRoot {folder}
PidFile {folder}/pid
Listen 127.0.0.1:{port}
ServerName localhost
User nobody
Group nogroup
DocumentRoot {folder}
ErrorLog {folder}/error.log
{modules}
<Location /keys>
    AuthType oauth2
    OAuth2TokenVerify jwks_uri {issuer}/.well-known/jwks.json expiry=1
    Require oauth2_claim aud:{audience}
</Location>
<Location /introspection>
    AuthType oauth2
    OAuth2TokenVerify introspect {issuer}/introspect \
introspect.auth=client_secret_basic&client_id=apache&client_secret={secret}&expiry=1
    Require oauth2_claim aud:{audience}
</Location>
"""


@pytest.fixture(scope="module")
def apache(issued: dict[str, Issued]) -> Iterator[httpx.Client]:
    issuer = issued["ES256"].issuer
    with (
        TemporaryDirectory() as folder,
        httpx.Client(base_url=issuer, trust_env=False) as service,
    ):
        login = {"grant_type": "password", "username": "admin", "password": ADMIN_PASSWORD}
        token = service.post("/token", data=login | {"scope": "*"}).json()["access_token"]
        client = {"id": "apache", "name": "Apache", "scopes": ["introspect"]}
        made = service.post("/clients", json=client, headers=bearer(token)).json()

        def command(port: int) -> list[str]:
            config = CONFIG.format(
                folder=folder, port=port, issuer=issuer, audience=AUDIENCE,
                secret=made["client_secret"],
                modules="\n".join(
                    f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in LOADED
                ),
            )  # fmt: skip
            Path(folder, "httpd.conf").write_text(config)
            assert APACHE is not None
            return [APACHE, "-X", "-f", f"{folder}/httpd.conf"]

        Path(folder).chmod(0o755)  # its workers are nobody where the tests are root
        for name in ("keys", "introspection"):
            Path(folder, name).write_text("in\n")
        with (
            sibling(command, Path(folder), {}) as url,
            httpx.Client(base_url=url, trust_env=False) as asking,
        ):
            yield asking


def status(apache: httpx.Client, way: str, token: str) -> int:
    return apache.get(f"/{way}", headers=bearer(token)).status_code


@pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "EdDSA"])
def test_it_takes_our_tokens_by_the_published_keys_but_for_eddsa(
    apache: httpx.Client, issued: dict[str, Issued], alg: str
) -> None:
    """All four keys stand in the set: one that it does not know hides none of the others."""
    these = issued[alg]
    assert status(apache, "keys", these.good) == (401 if alg in NOT_ITS else 200)
    # It is laxer than RFC 9068 §4 with the rest: docs/validating-tokens.md says in what.
    broken = dict(these.broken)
    for name in ("claims: expired", "claims: another audience"):
        assert status(apache, "keys", broken[name]) == 401, name
    assert status(apache, "keys", these.good[:-8] + "AAAAAAAA") == 401


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
def test_by_introspection_it_takes_them_all(
    apache: httpx.Client, issued: dict[str, Issued], alg: str
) -> None:
    assert status(apache, "introspection", issued[alg].good) == 200
    assert status(apache, "introspection", issued[alg].good[:-4] + "AAAA") == 401
