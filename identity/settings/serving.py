"""How it serves, what it stands on, and where it may ask others."""

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from identity.setting_types import MayScrape, Networks, Origins, Pause
from identity.settings.group import Group, setting


class ServerSettings(Group):
    environment: Literal["development", "production"] = setting(
        "development",
        "`production` refuses an http issuer that is not loopback, an unset bootstrap password "
        "while there is no user, and fewer than 12 bcrypt rounds",
    )
    host: str = setting("127.0.0.1", "address to listen on; `--host` wins")
    port: int = setting(8000, "port to listen on; `--port` wins", ge=0, le=65535)
    workers: int = setting(1, "processes behind the port; `--workers` wins", ge=1, le=64)
    http: Literal["own", "plain"] = setting(
        "own", "who reads HTTP: `own`, or `plain` for uvicorn as it comes, without our limits"
    )
    drain: Pause = setting(
        "0s",
        "how long requests are still served after SIGTERM, while `/readyz` fails already",
        le=timedelta(hours=1),
    )
    trusted_proxies: Networks = setting(
        (), "addresses or networks, not names, whose `Forwarded`/`X-Forwarded-For` is believed"
    )
    cors_origins: Origins = setting(
        (), "origins whose pages may call this service, such as `https://app.example`"
    )
    metrics_allow: MayScrape = setting(
        (), "who may read `/metrics`: addresses, networks and `token:SECRET`; unset: everybody"
    )
    max_connections: int = setting(10_000, "open connections a process accepts", ge=1)
    max_connections_per_address: int = setting(
        0, "of these, from one address (IPv6: one /64) that is no trusted proxy; 0: half", ge=0
    )


class DatabaseSettings(Group):
    database_url: SecretStr = setting(
        SecretStr("sqlite:///var/identity.db"),
        "`sqlite:///…` or `postgresql://…`; the driver is chosen for you",
    )
    database_pool: int = setting(8, "PostgreSQL connections a process keeps", ge=2, le=200)


class FetchSettings(Group):
    fetch_networks: Networks = setting(
        (),
        "private addresses or networks where what administrators register may lie: key sets, "
        "trusted issuers, addresses to send logouts to; metadata addresses never may",
    )
    fetch_ca: Path | None = setting(
        None, "PEM file of authorities that these are trusted by, beside the public ones"
    )
