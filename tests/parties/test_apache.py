"""mod_auth_openidc as Debian ships it, unmodified: Apache lets nobody in whom we have not named."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.databases import free_port
from tests.interop.deployment import sibling
from tests.parties.provider import EMAIL, Person, Provider

MODULES = Path("/usr/lib/apache2/modules")
APACHE = shutil.which("apache2", path="/usr/sbin:/usr/bin")
LOADED = ("mpm_event", "authn_core", "authz_core", "authz_user", "include", "filter",
          "mime", "auth_openidc")  # fmt: skip

pytestmark = pytest.mark.skipif(
    APACHE is None or not (MODULES / "mod_auth_openidc.so").exists(),
    reason="no Apache here (on Debian: apt-get install apache2 libapache2-mod-auth-openidc)",
)

CONFIG = """
ServerRoot {folder}
PidFile {folder}/pid
Listen 127.0.0.1:{port}
ServerName 127.0.0.1
User nobody
Group nogroup
DocumentRoot {folder}/pages
ErrorLog {folder}/error.log
{modules}
TypesConfig /dev/null
AddType text/html .html
AddOutputFilter INCLUDES .html
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID apache
OIDCClientSecret {secret}
OIDCRedirectURI http://127.0.0.1:{port}/inside/back
OIDCCryptoPassphrase {passphrase}
OIDCScope "openid email"
OIDCPKCEMethod S256
OIDCCookie apache
OIDCDefaultLoggedOutURL http://127.0.0.1:{port}/out.html
<Location /inside>
    Options +Includes
    AuthType openid-connect
    Require claim email:{email}
</Location>
"""


def test_mod_auth_openidc(provider: Provider, person: Person) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    secret = provider.client(
        "apache", f"{url}/inside/back", post_logout_redirect_uris=[f"{url}/out.html"]
    )
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # its workers are nobody where the tests are root
        pages = Path(folder, "pages", "inside")
        pages.mkdir(parents=True)
        (pages / "index.html").write_text('<p id="who"><!--#echo var="OIDC_CLAIM_email" --></p>')
        (pages.parent / "out.html").write_text('<p id="who">Nobody</p>')
        config = CONFIG.format(
            folder=folder, port=port, issuer=provider.url, secret=secret, email=EMAIL,
            passphrase=secret[::-1],
            modules="\n".join(
                f"LoadModule {name}_module {MODULES}/mod_{name}.so"
                for name in LOADED
            ),
        )  # fmt: skip
        Path(folder, "httpd.conf").write_text(config)
        assert APACHE is not None
        program = [APACHE, "-X", "-f", f"{folder}/httpd.conf"]
        with sibling(lambda _: program, Path(folder), {}, at=port, path="/out.html"):
            inside = f"{url}/inside/index.html"
            person.page.goto(inside)
            person.signs_in(until=inside)
            person.sees(EMAIL)
            person.page.goto(f"{url}/inside/back?logout={url}/out.html")
            person.page.wait_for_url(f"{url}/out.html")
            person.page.goto(inside)
            person.page.wait_for_selector("h1:has-text('Sign in')")
