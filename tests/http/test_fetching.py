"""What the service asks of others: never of whom it must not, and never without bounds."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity import clock
from identity.http import fetching
from identity.http.fetching import Fetched, Fetcher, FetchFailed
from identity.http.networks import may_ask
from tests.elsewhere import LOOPBACK, Answer, Asked, Authority, Elsewhere, Names, elsewhere
from tests.elsewhere import fetching as fetcher_of

NAT64 = ip_network("64:ff9b::/96")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def keys(authority: Authority) -> AsyncIterator[Elsewhere]:
    """`https://keys.example`."""
    async with elsewhere(authority.server("keys.example")) as server:
        server.answers["/"] = Answer(b"[1]")
        yield server


@pytest.fixture
def names() -> Names:
    return Names(keys_example=["127.0.0.1"])


@pytest.fixture
async def fetcher(authority: Authority, names: Names) -> AsyncIterator[Fetcher]:
    fetcher = fetcher_of(authority, names)
    yield fetcher
    await fetcher.close()


async def get(fetcher: Fetcher, server: Elsewhere, path: str = "/", **options: Any) -> Fetched:
    url = f"https://keys.example:{server.port}{path}"
    return await fetcher.get(url, **{"trusted": True} | options)


async def test_a_name_is_asked_by_its_own_name_and_certificate(
    fetcher: Fetcher, keys: Elsewhere
) -> None:
    answer = await get(fetcher, keys, "/")
    assert (answer.status, answer.body) == (200, b"[1]")
    (asked,) = keys.asked
    assert asked.headers["host"] == f"keys.example:{keys.port}"
    assert asked.headers["accept-encoding"] == "identity"


async def test_a_certificate_must_be_the_names(
    authority: Authority, fetcher: Fetcher, names: Names
) -> None:
    names.addresses["other.example"] = ["127.0.0.1"]
    async with elsewhere(authority.server("keys.example", "127.0.0.1")) as server:
        server.answers["/"] = Answer()
        await fetcher.get(f"https://keys.example:{server.port}/", trusted=True)
        with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
            await fetcher.get(f"https://other.example:{server.port}/", trusted=True)
        assert len(server.asked) == 1


async def test_the_authority_of_administrators_is_for_what_they_registered(
    authority: Authority, keys: Elsewhere, names: Names
) -> None:
    local = Fetcher(LOOPBACK, authority.pem, local=True, resolve=names)
    await get(local, keys, trusted=True)
    with pytest.raises(FetchFailed, match="CERTIFICATE_VERIFY_FAILED"):
        await get(local, keys, trusted=False)


async def test_listed_networks_are_for_what_administrators_registered(
    fetcher: Fetcher, keys: Elsewhere
) -> None:
    with pytest.raises(FetchFailed, match="may not be asked"):
        await get(fetcher, keys, trusted=False)
    assert not keys.asked


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "0.0.0.0", "::", "10.0.0.1",
        "172.31.255.255", "192.168.0.1", "::ffff:192.168.0.1", "100.64.0.1", "169.254.169.254",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b:1::7f00:1",
        "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254",
        "fd20:ce::254", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "2002:7f00:1::1",
        "2001:0:7f00:1::1", "2001:db8::1", "ff02::1", "224.0.0.1", "255.255.255.255", "192.0.2.1",
        "198.18.0.1", "::ffff:0:127.0.0.1", "4000::1",
    ],
)  # fmt: skip
async def test_names_that_lead_inside_are_not_asked(address: str) -> None:
    names = Names(innocent_example=[address], mixed_example=["93.184.215.14", address])
    fetcher = Fetcher(resolve=names)
    for trusted in (True, False):
        for host in ("innocent.example", "mixed.example"):
            with pytest.raises(FetchFailed, match="may not be asked"):
                await fetcher.get(f"https://{host}/", trusted=trusted)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1", "0"])
async def test_addresses_are_no_way_around_names(host: str) -> None:
    with pytest.raises(FetchFailed, match=r"may not be asked|has no address"):
        await Fetcher().get(f"https://{host}:1/", trusted=False)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fe80::1", "168.63.129.16"],
)
def test_what_a_cloud_tells_its_machines_is_asked_by_nobody(address: str) -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]
    assert not may_ask(address, everything, loopback=True)
    assert may_ask("10.0.0.1", everything, loopback=False)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_every_dress(address: Any) -> None:
    alone = may_ask(str(address), (), loopback=False)
    assert may_ask(f"::ffff:{address}", (), loopback=False) is alone
    assert may_ask(f"64:ff9b::{address}", (), loopback=False) is alone
    # Python's own word, where it is the stricter one.
    assert address.is_global or not alone
    assert not (alone and address.is_multicast)


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_passes_that_is_not_everybodys(address: Any) -> None:
    if may_ask(str(address), (), loopback=False):
        assert address.is_global or address in NAT64


async def test_the_checked_address_is_the_one_that_is_asked(
    fetcher: Fetcher, keys: Elsewhere, names: Names
) -> None:
    """A name server that answers differently the second time (DNS rebinding)."""
    await get(fetcher, keys)
    assert names.looked_up == ["keys.example"]


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/", "ftp://keys.example/", "file:///etc/passwd", "gopher://x/", "//x/",
        "", "https:///x", "https://a@keys.example/", "https://a:b@keys.example/", "keys.example",
        "http://127.0.0.1/", "http://localhost/", "https://", "https://[::1", "data:,x",
    ],
)  # fmt: skip
async def test_what_is_not_https_is_not_fetched(url: str, names: Names) -> None:
    with pytest.raises(FetchFailed):
        await Fetcher(LOOPBACK, resolve=names).get(url, trusted=True)
    assert not names.looked_up


async def test_in_development_this_machine_is_asked_without_https() -> None:
    async with elsewhere(None) as server:
        server.answers["/"] = Answer(b"ok")
        for host in ("127.0.0.1", "localhost"):
            names = Names(**{host: ["127.0.0.1"]})
            url = f"http://{host}:{server.port}/"
            answer = await Fetcher(local=True, resolve=names).get(url, trusted=False)
            assert answer.body == b"ok"
        hijacked = Fetcher(local=True, resolve=Names(localhost=["93.184.215.14"]))
        with pytest.raises(FetchFailed, match="https"):
            await hijacked.get(url, trusted=False)


async def test_in_production_this_machine_is_not_asked() -> None:
    from identity.settings import Settings

    production = Settings.of(environment="production", issuer="https://id.example")
    async with elsewhere(None) as server:
        for settings, refused in ((production, True), (Settings.of(), False)):
            fetcher = Fetcher.of(settings)
            with pytest.raises(FetchFailed, match="https" if refused else "404"):
                await fetcher.get(f"http://127.0.0.1:{server.port}/", trusted=True)
        assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(fetcher: Fetcher, keys: Elsewhere, status: int) -> None:
    keys.answers["/moved"] = Answer(b"", status, {"location": f"https://keys.example:{keys.port}/"})
    with pytest.raises(FetchFailed, match="redirect"):
        await get(fetcher, keys, "/moved")
    with pytest.raises(FetchFailed, match="redirect"):
        await fetcher.post(f"https://keys.example:{keys.port}/moved", trusted=True, body=b"x")
    assert [asked.path for asked in keys.asked] == ["/moved", "/moved"]


async def test_a_giant_is_not_read_to_its_end(fetcher: Fetcher, keys: Elsewhere) -> None:
    async def forever(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 .\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
            await writer.drain()

    keys.answers["/"] = forever
    with pytest.raises(FetchFailed, match="more than 10000 octets"):
        await get(fetcher, keys, limit=10_000, within=20)
    keys.answers["/fits"] = Answer(b"x" * 10_000)
    assert len((await get(fetcher, keys, "/fits", limit=10_000)).body) == 10_000


async def test_what_was_squeezed_is_refused(fetcher: Fetcher, keys: Elsewhere) -> None:
    keys.answers["/"] = Answer(b"\x1f\x8b", headers={"content-encoding": "gzip"})
    with pytest.raises(FetchFailed, match="encoding"):
        await get(fetcher, keys)


async def test_whoever_dawdles_is_not_waited_for(fetcher: Fetcher, keys: Elsewhere) -> None:
    async def drop_by_drop(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 .\r\ncontent-length: 100\r\n\r\n")
        for _ in range(100):  # each of them well within a limit on a single read
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    keys.answers["/"] = drop_by_drop
    with pytest.raises(FetchFailed, match=r"did not answer in 0\.3 s"):
        await get(fetcher, keys, within=0.3)


async def test_all_who_ask_at_once_share_one_request(fetcher: Fetcher, keys: Elsewhere) -> None:
    go = asyncio.Event()

    async def when_told(asked: Asked, writer: asyncio.StreamWriter) -> Answer:
        await go.wait()
        return Answer(b"one")

    keys.answers["/"] = when_told
    asking = [asyncio.create_task(get(fetcher, keys)) for _ in range(50)]
    await asyncio.sleep(0)
    asking[0].cancel()  # who asked first gives up: the others do not
    go.set()
    first, *others = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert {getattr(answer, "body", None) for answer in others} == {b"one"}
    assert len(keys.asked) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 300), ("max-age=60", 60), ("public, max-age=3600", 3600), ("max-age=0", 10),
        ("no-store", 10), ("no-cache, max-age=60", 10), ("max-age=999999999", 86400),
        ("s-maxage=5", 300), ("max-age=x", 300),
    ],
)  # fmt: skip
async def test_answers_are_kept_as_long_as_they_say_within_bounds(
    fetcher: Fetcher, keys: Elsewhere, header: str | None, seconds: int
) -> None:
    keys.answers["/"] = Answer(b"1", headers={"cache-control": header} if header else {})
    with clock.frozen() as time:
        await get(fetcher, keys)
        time.tick(seconds - 1)
        await get(fetcher, keys)
        assert len(keys.asked) == 1
        time.tick(1)
        await get(fetcher, keys)
        assert len(keys.asked) == 2
        await get(fetcher, keys, fresh=True)
        assert len(keys.asked) == 3


async def test_an_error_is_never_kept(fetcher: Fetcher, keys: Elsewhere) -> None:
    for status in (404, 500, 204):
        keys.answers["/"] = Answer(b"", status, {"cache-control": "max-age=3600"})
        with pytest.raises(FetchFailed) as failed:
            await get(fetcher, keys)
        assert failed.value.status == status
    keys.answers["/"] = Answer(b"well again")
    assert (await get(fetcher, keys)).body == b"well again"


async def test_what_is_kept_is_bounded(
    fetcher: Fetcher, keys: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "KEPT_BYTES", 1000)
    for n in range(5):
        keys.answers[f"/{n}"] = Answer(b"x" * 400)
        await get(fetcher, keys, f"/{n}")
    await get(fetcher, keys, "/4")
    await get(fetcher, keys, "/3")
    assert len(keys.asked) == 5
    await get(fetcher, keys, "/0")
    assert len(keys.asked) == 6


async def test_a_host_that_keeps_failing_is_left_alone_and_tried_again(
    fetcher: Fetcher, keys: Elsewhere
) -> None:
    keys.answers["/"] = Answer(b"", 503)
    with clock.frozen() as time:
        for _ in range(5):
            with pytest.raises(FetchFailed, match="503"):
                await get(fetcher, keys)
        with pytest.raises(FetchFailed, match="left alone"):
            await get(fetcher, keys)
        assert len(keys.asked) == 5
        keys.answers["/"] = Answer(b"well")
        time.tick(60)
        assert (await get(fetcher, keys)).body == b"well"


async def test_a_wrong_path_does_not_make_a_host_ill(fetcher: Fetcher, keys: Elsewhere) -> None:
    for _ in range(10):
        with pytest.raises(FetchFailed, match="404"):
            await get(fetcher, keys, "/wrong")
    assert (await get(fetcher, keys)).body == b"[1]"


async def test_a_post_arrives_and_its_answer_comes_back(fetcher: Fetcher, keys: Elsewhere) -> None:
    keys.answers["/told"] = Answer(b'{"error":"x"}', 400)
    answer = await fetcher.post(
        f"https://keys.example:{keys.port}/told", trusted=True, body=b"logout_token=x"
    )
    assert (answer.status, answer.body) == (400, b'{"error":"x"}')
    (asked,) = keys.asked
    assert (asked.method, asked.body) == ("POST", b"logout_token=x")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_the_next_address_is_tried_where_one_does_not_answer(
    fetcher: Fetcher, keys: Elsewhere, names: Names
) -> None:
    names.addresses["keys.example"] = ["127.9.9.9", "127.0.0.1"]  # the server has the second
    assert (await get(fetcher, keys)).body == b"[1]"


async def test_words_of_a_failure_hold_nothing_of_an_address_but_its_host(
    fetcher: Fetcher, keys: Elsewhere
) -> None:
    with pytest.raises(FetchFailed) as failed:
        await get(fetcher, keys, "/secret?token=secret")
    assert "secret" not in str(failed.value)


def test_a_file_that_holds_no_authority_refuses_the_start(tmp_path: Path) -> None:
    from identity.settings import Settings, SettingsError

    with pytest.raises(SettingsError, match="IDENTITY_FETCH_CA"):
        Settings.of(fetch_ca=tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(SettingsError, match="IDENTITY_FETCH_CA"):
        Settings.of(fetch_ca=tmp_path / "bad.pem")
