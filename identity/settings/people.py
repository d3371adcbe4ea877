"""How people prove who they are, what becomes of their accounts, and what they are told."""

from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr, field_validator

from identity.setting_types import DomainName, Duration, Mailbox, Paths, Pause, RelatedOrigins
from identity.settings.group import Group, setting


class PasswordSettings(Group):
    bcrypt_rounds: int = setting(12, "bcrypt cost, 10 to 16", ge=4, le=16)
    test_weak_hashing: bool = setting(False, "allows 4 to 9 rounds; for tests only")
    hashing_threads: int = setting(
        0, "hashing threads a process runs; 0: cores divided by workers", ge=0, le=256
    )
    hashing_queue: int = setting(32, "logins that may wait for a hashing thread", ge=1)
    password_min_length: int = setting(
        15,
        "characters of a new password, set on these pages, that is all that lets its user in; with "
        "a second factor 8 will do",
        ge=8,
        le=128,
    )
    one_time_password_ttl: Duration = setting(
        "24h",
        "how long a one-time password is good, set by an administrator or at the command line",
    )


class ThrottleSettings(Group):
    login_max_failures: int = setting(
        10, "failed logins per account and address", ge=1, le=1_000_000
    )
    login_lockout: Duration = setting("5m", "how long further attempts answer 429")


class PasskeySettings(Group):
    rp_id: DomainName | None = setting(
        None,
        "the domain that passkeys belong to; the issuer's host when unset. Permanent: passkeys "
        "made under another are good no longer",
    )
    related_origins: RelatedOrigins = setting(
        (),
        "other origins whose pages or apps may use the same passkeys, such as "
        "`https://example.co.uk` or `android:apk-key-hash:…`",
    )


class AccountSettings(Group):
    account_deletion_grace: Pause = setting(
        "14d",
        "how long after its user has deleted it an account can be had back, by signing in",
        le=timedelta(days=365),
    )
    offer_second_factor: bool = setting(
        True,
        "whether whoever signs in on the pages by a password alone is offered, once, to set up a "
        "second factor",
    )
    sign_up: bool = setting(
        False,
        "whether anybody may make an account for themselves, at `/sign-up`, by an e-mail address "
        "that they can read",
    )


class BootstrapSettings(Group):
    bootstrap_admin_username: str = setting("admin", "the first user, made when there is none")
    bootstrap_admin_password: SecretStr | None = setting(
        None, "the first user's password; random and printed once when unset"
    )
    apply: Paths = setting(
        (), "files that every start applies, as `identity apply FILE` does, without `--prune`"
    )


class MailSettings(Group):
    smtp_url: SecretStr | None = setting(
        None,
        "the server that takes mails, such as `smtp://USER:PASSWORD@HOST:587`, where STARTTLS is "
        "demanded unless the host is loopback or the URL ends in `?starttls=off`, or "
        "`smtps://…:465`; unset: none are sent",
    )
    mail_from: Mailbox | None = setting(
        None,
        "who mails are from, such as `Example <no-reply@example.com>`; with `IDENTITY_SMTP_URL`",
    )
    mail_folder: Path | None = setting(
        Path("var/mail"),
        "folder that mails go to in development while there is no `IDENTITY_SMTP_URL`; `/dev/mail` "
        "shows them. `off`: none",
    )

    @field_validator("mail_folder", mode="before")
    @classmethod
    def _no_folder(cls, value: object) -> object:
        return None if value == "off" else value
