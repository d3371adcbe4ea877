"""What is kept and told of all that happens: audit, logs, traces."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, field_validator

from identity.setting_types import Duration
from identity.settings.group import Group, setting


class AuditSettings(Group):
    audit_retention: Duration | None = setting(
        None, "age at which audit events leave the database for archive files; unset: never"
    )
    audit_archive: Path = setting(
        Path("var/audit"), "folder of the archive files, one for all replicas"
    )


class LogSettings(Group):
    log_format: Literal["json", "console", "auto"] = setting(
        "auto", "`json` or `console`; `auto`: console on a terminal, else json"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "least level logged")


class TracingSettings(Group):
    otlp_endpoint: str | None = setting(
        None,
        "the collector that traces and metrics are sent to by OTLP over HTTP, such as "
        "`http://collector:4318`; needs the extra `[otel]`; unset: none are",
    )
    otlp_headers: SecretStr | None = setting(
        None, "headers of these requests, such as `authorization=Bearer SECRET`, by commas"
    )
    trace_ratio: float = setting(
        1.0,
        "share of the requests without a `traceparent` that are traced; who sends one decides "
        "itself",
        ge=0,
        le=1,
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _can_send(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ValueError("must be an http(s) address without a query")
        if parts.username or parts.password:
            raise ValueError("is no place for a password: IDENTITY_OTLP_HEADERS")
        if not all(map(find_spec, ("opentelemetry", "opentelemetry.sdk"))):
            raise ValueError("needs the extra [otel]: pip install 'identity-service[server,otel]'")
        return value

    @field_validator("otlp_headers")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        """What cannot would be told by the exporter's own words in the log, secret and all."""
        if not all(map(_HEADER.fullmatch, _parts(value))):
            raise ValueError("must be NAME=VALUE, by commas, in ASCII and on one line")
        return value

    def headers(self) -> dict[str, str]:
        """By name."""
        pairs = (part.partition("=") for part in _parts(self.otlp_headers))
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


_HEADER = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+\s*=[ -~]*\s*", re.ASCII)


def _parts(headers: SecretStr | None) -> list[str]:
    texts = [] if headers is None else headers.get_secret_value().split(",")
    return [text for text in texts if text.strip()]
