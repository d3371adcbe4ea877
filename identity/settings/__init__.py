"""Every setting, grouped by the slice that reads it; read once, frozen, checked at the start.

A setting is a field of a group: its environment name is `IDENTITY_` + the field's name in capitals,
from the environment or a `.env` file. Unknown names and bad values refuse the start by name.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from identity.settings.checks import check, loopback
from identity.settings.group import Group, defaults
from identity.settings.issuing import (
    CertificateSettings,
    KeySettings,
    RegistrationSettings,
    SessionSettings,
    TokenSettings,
)
from identity.settings.people import (
    AccountSettings,
    BootstrapSettings,
    MailSettings,
    PasskeySettings,
    PasswordSettings,
    ThrottleSettings,
)
from identity.settings.reading import (
    PREFIX,
    SettingsError,
    environment,
    first_mistake,
    named,
    nest,
)
from identity.settings.records import AuditSettings, LogSettings, TracingSettings
from identity.settings.serving import DatabaseSettings, FetchSettings, ServerSettings

__all__ = [
    "PREFIX",
    "AccountSettings",
    "AuditSettings",
    "BootstrapSettings",
    "CertificateSettings",
    "DatabaseSettings",
    "FetchSettings",
    "Group",
    "KeySettings",
    "LogSettings",
    "MailSettings",
    "PasskeySettings",
    "PasswordSettings",
    "RegistrationSettings",
    "ServerSettings",
    "SessionSettings",
    "Settings",
    "SettingsError",
    "ThrottleSettings",
    "TokenSettings",
    "TracingSettings",
    "described",
    "loopback",
]


class Settings(BaseModel):
    """All groups. `Settings.load()` reads the environment; `Settings.of()` does not."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    server: ServerSettings = defaults()
    database: DatabaseSettings = defaults()
    tokens: TokenSettings = defaults()
    keys: KeySettings = defaults()
    passwords: PasswordSettings = defaults()
    sessions: SessionSettings = defaults()
    registration: RegistrationSettings = defaults()
    throttle: ThrottleSettings = defaults()
    passkeys: PasskeySettings = defaults()
    accounts: AccountSettings = defaults()
    bootstrap: BootstrapSettings = defaults()
    audit: AuditSettings = defaults()
    fetching: FetchSettings = defaults()
    certificates: CertificateSettings = defaults()
    mail: MailSettings = defaults()
    logs: LogSettings = defaults()
    tracing: TracingSettings = defaults()

    @classmethod
    def load(cls, **overrides: Any) -> "Settings":
        """The settings in force: `overrides` (field names) win over environment over `.env`."""
        return cls._checked(environment() | named(overrides))

    @classmethod
    def of(cls, **fields: Any) -> "Settings":
        """Defaults and `fields`, whatever the environment says."""
        return cls._checked(named(fields))

    @classmethod
    def _checked(cls, flat: Mapping[str, Any]) -> "Settings":
        nested: dict[str, Any] = nest(flat, described())
        try:
            settings = cls(**nested)
        except ValidationError as error:
            raise SettingsError(first_mistake(error, described())) from None
        check(settings)
        return settings

    @property
    def issuer(self) -> str:
        if self.tokens.issuer:
            return self.tokens.issuer
        host = self.server.host
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server.port}"

    @property
    def audience(self) -> str:
        return self.tokens.default_audience or self.issuer

    @property
    def production(self) -> bool:
        return self.server.environment == "production"

    @property
    def sends_mail(self) -> bool:
        """By SMTP, or into the folder of who develops."""
        by_folder = not self.production and self.mail.mail_folder is not None
        return self.mail.smtp_url is not None or by_folder


def described() -> Iterator[tuple[str, str, FieldInfo]]:
    """(environment name, group, field) of every setting, for the README's table."""
    for group, holder in Settings.model_fields.items():
        assert isinstance(holder.annotation, type)
        assert issubclass(holder.annotation, Group)
        for name, field in holder.annotation.model_fields.items():
            yield PREFIX + name.upper(), group, field
