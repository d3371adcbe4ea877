"""Which addresses a client may register, and which of a request are one of them."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from identity.directory import uris
from identity.directory.uris import (
    LONGEST,
    host_of,
    is_loopback,
    is_private_use,
    is_registered,
    origin_of,
    redirect_problem,
    web_problem,
)

GOOD = [
    "https://app.example.com/callback",
    "https://app.example.com",
    "https://app.example.com:8443/cb?tenant=a%20b",
    "https://xn--bcher-kva.example/cb",
    "https://[2001:db8::1]/cb",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:8765/cb",
    "http://[::1]:8765/cb",
    "http://localhost:3000/cb",
    "app.immich:///oauth-callback",
    "com.example.app:/cb",
    "com.example.app://cb?x=1",
]
BAD = [
    "",
    "callback",
    "/callback",
    "//app.example.com/cb",
    "https:",
    "https:///cb",
    "https:/app.example.com/cb",
    "http://app.example.com/cb",
    "http://127.0.0.2/cb",
    "http://127.1/cb",
    "http://2130706433/cb",
    "http://0x7f.0.0.1/cb",
    "http://localhost.evil.example/cb",
    "http://127.0.0.1.evil.example/cb",
    "http://[::ffff:127.0.0.1]/cb",
    "http://[::1%25eth0]/cb",
    "HTTPS://app.example.com/cb",
    "https://App.example.com/cb",
    "https://app.example.com/cb#fragment",
    "https://app.example.com/cb#",
    "https://app.example.com*",
    "https://*.example.com/cb",
    "https://app.example.com/*",
    "https://user@app.example.com/cb",
    "https://user:pass@app.example.com/cb",
    "https://app.example.com@evil.example/cb",
    "https://a@b@app.example.com/cb",
    "https://app.example.com\\@evil.example/cb",
    "https://app.example.com\\.evil.example/cb",
    "https://app.example.com%2eevil.example/cb",
    "https://app.example.com:0/cb",
    "https://app.example.com:99999/cb",
    "https://app.example.com:/cb",
    "https://app.example.com:443443443/cb",
    "https://app.example.com:80:80/cb",
    "https://app..example.com/cb",
    "https://.example.com/cb",
    "https://app.example.com/c b",
    "https://app.example.com/cb\r\nLocation: https://evil.example",
    "https://app.example.com/cb\t",
    "https://app.example.com/cb\0",
    "https://app.example.com/c\u202eb",
    "https://bücher.example/cb",
    "https://app.example.com/cb%",
    "https://app.example.com/cb%zz",
    "https://app.example.com/<script>",
    'https://app.example.com/"',
    "https://[1]/cb",
    "https://[::1/cb",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://app.example.com/%0aalert(1)",
    "java\tscript:alert(1)",
    " javascript:alert(1)",
    "data:text/html,x",
    "DATA:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://app.example.com/1",
    "about:blank",
    "ftp://app.example.com/cb",
    "myapp:/cb",
    "urn:ietf:wg:oauth:2.0:oob",
    "com.example.app:",
    ".example:/cb",
    "com..example:/cb",
    "Com.Example.App:/cb",
    "https://app.example.com/cb?code=1",
    "https://app.example.com/cb?a=1&state=2",
    "https://app.example.com/cb?a;iss=2",
    "https://app.example.com/cb?%63ode=1",
    "https://app.example.com/cb?response",
    "https://app.example.com/cb?error=",
    "com.example.app:/cb?state=1",
    "https://app.example.com/" + "a" * LONGEST,
]


@pytest.mark.parametrize("uri", GOOD)
def test_a_redirect_uri_that_is_good(uri: str) -> None:
    assert redirect_problem(uri) is None
    assert is_registered(uri, GOOD)


@pytest.mark.parametrize("uri", BAD)
def test_a_redirect_uri_that_is_refused_with_words(uri: str) -> None:
    assert redirect_problem(uri)
    assert not is_registered(uri, GOOD)


def test_other_addresses_are_of_the_web_and_may_have_what_they_need() -> None:
    assert web_problem("https://app.example.com/logo.png?code=1") is None
    assert web_problem("http://127.0.0.1:9/jwks") is None
    assert web_problem("http://127.0.0.1:9/jwks", local=False)
    assert web_problem("https://app.example.com/request#digest")
    assert web_problem("https://app.example.com/request#digest", fragment=True) is None
    for uri in ("com.example.app:/x", "http://app.example.com/", "javascript:x", "data:,x"):
        assert web_problem(uri) and web_problem(uri, fragment=True)


def test_of_a_loopback_address_alone_the_port_may_be_another() -> None:
    registered = ["http://127.0.0.1/cb", "http://[::1]:7/cb?a=1", "http://localhost:3000/cb"]
    for good in ("http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]/cb?a=1"):
        assert is_registered(good, registered), good
    for bad in (
        "http://127.0.0.1:1/cb/", "http://127.0.0.1:1/", "http://127.0.0.1:1/cb?a=1",
        "http://127.0.0.1:65536/cb", "http://127.0.0.1:01/cb", "http://127.0.0.1:/cb",
        "http://127.0.0.1:1@evil.example/cb", "http://127.0.0.1:1.evil.example/cb",
        "http://127.0.0.1:1\\/cb", "http://127.0.0.1:1/cb#", "http://[::1]:7/cb",
        "http://localhost:3001/cb", "https://127.0.0.1:1/cb", "HTTP://127.0.0.1:1/cb",
        "http://127.0.0.1.evil.example/cb", "http://[::1]:8/cb?a=1\r\n",
    ):  # fmt: skip
        assert not is_registered(bad, registered), bad
    assert not is_registered("https://app.example.com:444/", ["https://app.example.com/"])


def test_parts_that_others_ask_for() -> None:
    assert host_of("https://app.example.com:8443/cb") == "app.example.com"
    assert host_of("com.example.app:/cb") is None
    assert origin_of("https://app.example.com:443/cb") == "https://app.example.com"
    assert origin_of("http://[::1]:7/cb") == "http://[::1]:7"
    assert origin_of("com.example.app://cb") is None
    assert is_loopback("http://localhost:1/") and not is_loopback("https://localhost/")
    assert is_private_use("com.example.app:/cb") and not is_private_use("https://a.example/")


@hypothesis_settings(max_examples=50)
@given(st.text(max_size=60), st.sampled_from(GOOD), st.integers(0, 60))
def test_what_is_put_into_a_registered_address_makes_it_another(
    text: str, uri: str, at: int
) -> None:
    changed = uri[:at] + text + uri[at:]
    if changed != uri and is_registered(changed, [uri]):
        # Nothing but digits of a loopback port.
        assert uri.startswith(("http://127.0.0.1", "http://[::1]"))
        assert redirect_problem(changed) is None
        assert host_of(changed) == host_of(uri)


@given(st.text(max_size=80))
def test_any_text_has_an_answer(text: str) -> None:
    problem = redirect_problem(text)
    assert problem is None or problem
    is_registered(text, GOOD)


def test_nothing_long_is_remembered_whoever_sends_it() -> None:
    """A registration may bring addresses as long as its body."""
    before = uris._redirect_problem.cache_info().currsize
    for number in range(20):
        assert redirect_problem(f"https://app.example.com/{number}" + "a" * LONGEST) is not None
    assert uris._redirect_problem.cache_info().currsize == before
