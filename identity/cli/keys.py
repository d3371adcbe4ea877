"""`identity keys …`"""

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from identity.cli.confirming import YesAfterKid, sure
from identity.cli.frame import Operation, operating
from identity.cli.printing import AsJson, as_json, ordered, remark, table
from identity.cli.secrets import passphrase

if TYPE_CHECKING:
    from sqlmodel import Session

    from identity.keys.table import SigningKey
    from identity.keys.uptake import Uptake

commands = typer.Typer(
    name="keys", help="See, rotate, revoke and exchange signing keys.", rich_markup_mode=None
)

# One key id in 64 begins with a hyphen; where an id is given there are no short options.
WITH_KID = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
Kid = Annotated[str, typer.Argument(metavar="KID", help="The key's id, or its beginning.")]
PassphraseFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="File whose first line it is.")
]


@commands.command("list")
def list_(json: AsJson = False) -> None:
    """List the keys, newest first, and who has not got the next one yet."""
    from sqlmodel import col, select

    from identity.keys.table import SigningKey
    from identity.keys.uptake import uptakes

    with operating() as operation, operation.look() as session:
        keys = session.exec(select(SigningKey).order_by(col(SigningKey.created_at).desc())).all()
        waiting = uptakes(session)
    if json:
        as_json([_listed(key, waiting.get(key.kid)) for key in keys])
        return
    table(
        ("KID", "ALGORITHM", "STATE", "CREATED", "SIGNS FROM", "PUBLISHED UNTIL"),
        (
            (k.kid, k.algorithm, k.state, k.created_at, k.activated_at or k.not_before, _end(k))
            for k in keys
        ),
        none="There are no keys yet; the first start of the service makes one.",
    )
    for kid, uptake in waiting.items():
        if uptake.missing:
            print(f"\n{kid} waits for {uptake.missing} of {uptake.followers} followers:")
            table(
                ("CLIENT", "FOLLOWER", "SEEN"),
                ((each.client_id, each.name, each.seen_at) for each in uptake.who),
                none="",
            )


def _listed(key: "SigningKey", uptake: "Uptake | None") -> dict[str, object]:
    shown = ordered(key, mode="json", exclude={"private"})
    if uptake is None:
        return shown
    who = [
        ordered(each, mode="json", include={"client_id", "name", "seen_at"}) for each in uptake.who
    ]
    counts = {name: getattr(uptake, name) for name in ("followers", "silent", "missing")}
    return {**shown, "uptake": {**counts, "waits_for": who}}


@commands.command()
def rotate(
    now: Annotated[
        bool,
        typer.Option("--now", help="Sign with it at once, whoever has not got it yet."),
    ] = False,
    algorithm: Annotated[
        str | None, typer.Option(help="Which key, where audiences have chosen other algorithms.")
    ] = None,
) -> None:
    """Publish the key that signs next. It signs once every cached key set can hold it."""
    from identity.keys import rotation
    from identity.keys.material import prepare

    with operating() as operation:
        settings = operation.settings
        serves = rotation.serving(settings, algorithm)
        with operation.change() as session:
            master = operation.master(session)
        material = prepare(settings.keys.algorithm_for(serves), master)
        with operation.change() as session:
            key = rotation.rotate(session, settings, material, now=now, serves=serves)
    if key.state == "active":
        remark(f"{key.kid} signs from now on.")
    else:
        remark(
            f"{key.kid} is published, and signs from {key.not_before:%Y-%m-%d %H:%M:%SZ}, once all "
            "who follow the revocations have it."
        )


@commands.command(context_settings=WITH_KID)
def revoke(kid: Kid, yes: YesAfterKid = False) -> None:
    """Make everything that a key has signed invalid, at once."""
    from identity.keys import rotation, transitions
    from identity.keys.material import prepare

    with operating() as operation:
        with operation.change() as session:
            master = operation.master(session)
            found = _find(session, kid)
        if found.state != "revoked":
            sure(f"End every token that {found.kid} ({found.state}) has signed?", yes=yes)
        algorithm = operation.settings.keys.algorithm_for(found.serves)
        material = prepare(algorithm, master)
        with operation.change() as session:
            rotation.revoke(session, operation.settings, found.kid, material)
            active = transitions.find(session, "active", found.serves)
    remark(f"{found.kid} is revoked; {active.kid if active else 'no key'} signs.")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE.pem", exists=True, dir_okay=False)],
    algorithm: Annotated[
        str | None, typer.Option(help="PS256 for an RSA key that is not to sign RS256.")
    ] = None,
    activate: Annotated[
        bool, typer.Option("--activate", help="Sign with it at once, not when it is known.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Bring a private key (PEM: EC P-256, RSA, Ed25519). It signs next."""
    from identity.keys import exchange

    pem = file.read_bytes()
    secret = passphrase(passphrase_file) if b"ENCRYPTED" in pem or passphrase_file else None
    with operating() as operation:
        with operation.change() as session:
            master = operation.master(session)
        material = exchange.read(master, pem, secret, algorithm)
        with operation.change() as session:
            key = exchange.import_(session, operation.settings, material, activate=activate)
    remark(f"{key.kid} ({key.algorithm}) is imported; it is {key.state}.")


@commands.command(context_settings=WITH_KID)
def export(
    kid: Kid,
    file: Annotated[Path, typer.Argument(metavar="FILE.pem", help="A new file; `-`: stdout.")],
    plain: Annotated[
        bool, typer.Option("--plain", help="Do not encrypt it under a passphrase.")
    ] = False,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Write a private key as PEM, encrypted under a passphrase unless told otherwise."""
    from identity.keys import exchange

    if plain and passphrase_file:
        raise typer.BadParameter("--plain and --passphrase-file exclude each other")
    secret = None if plain else passphrase(passphrase_file, confirm=True)
    if secret is None and not plain:
        raise typer.BadParameter("there is no terminal: use --passphrase-file or --plain")
    with ExitStack() as ends:
        from identity.store.new_files import new_file

        draft = ends.enter_context(new_file(file)) if str(file) != "-" else None
        with operating() as operation, operation.change() as session:
            found = _find(session, kid)
            pem = exchange.export(session, operation.master(session), found.kid, secret)
        # What leaves is on record by now.
        if draft is None:
            print(pem.decode(), end="")
        else:
            draft.write(pem)
    remark(f"Exported {found.kid}{' without encryption' if plain else ''}.")


@commands.command("rotate-master")
def rotate_master(
    drop_old: Annotated[
        bool, typer.Option("--drop-old", help="Second step: forget all but the newest.")
    ] = False,
) -> None:
    """Replace the master key, in two steps.

    The first puts a new one before the old in the key file and encrypts every secret under it.
    Then copy the file to every replica and start them again; the second, --drop-old, takes the
    old key out.
    """
    from identity.cli import master_file
    from identity.keys import master, transitions
    from identity.settings import SettingsError

    with operating() as operation:
        if operation.settings.keys.master_key is not None:
            _reencrypt_under_setting(operation, drop_old)
            return
        file = operation.settings.keys.keys_dir / master.FILE
        with operation.change() as session:
            transitions.lock(session)  # one at a time, and no new secret meanwhile
            operation.master(session)  # refuses what is wrong with the file
            if drop_old and master_file.count(file) < 2:
                raise SettingsError(f"{file}: holds one key only, there is none to drop")
            if not drop_old:
                master_file.put_first(file)  # first: whatever comes now, no key is lost
            count = _reencrypt(session, operation)
        if drop_old:
            _sign_head_anew(operation)
            with operation.change() as session:
                transitions.lock(session)
                master_file.keep_newest(file, _secrets(session))
            remark(f"{file} holds the newest master key only.")
            return
    remark(f"{file} holds a new master key before the old; secrets encrypted under it: {count}.")
    remark(
        "Back the file up, copy it to every replica, start them again, and then run "
        "`identity keys rotate-master --drop-old`."
    )


def _reencrypt_under_setting(operation: Operation, drop_old: bool) -> None:
    from identity.keys import master
    from identity.settings import SettingsError

    key = operation.settings.keys.master_key
    if drop_old or key is None or len(re.split(r"[,\s]+", key.get_secret_value().strip())) < 2:
        raise SettingsError(
            f'{master.SETTING}: is a setting, which you change: make it "NEW,OLD", start every '
            "replica again, run this without --drop-old, then make it NEW alone. "
            "A new key: openssl rand -base64 32 | tr +/ -_"
        )
    with operation.change() as session:
        count = _reencrypt(session, operation)
    _sign_head_anew(operation)
    remark(f"Secrets encrypted under the first key of {master.SETTING}: {count}.")
    remark("Once every replica runs with it, take the old key out.")


def _reencrypt(session: "Session", operation: Operation) -> int:
    """Bring all that is sealed under the newest master key; how many secrets there were."""
    from identity.authentication import totp
    from identity.authentication.mail import outbox
    from identity.keys import master

    key = operation.master(session)
    secrets = master.reencrypt(session, key) + totp.reencrypt(session, key)
    return secrets + outbox.reencrypt(session, key)


def _sign_head_anew(operation: Operation) -> None:
    """The audit's head may be signed under the old key; what was just recorded moves it on. So may
    be the record of its archives; the files themselves stay as they are."""
    from identity.records import audit
    from identity.records.audit import archiving
    from identity.service.opening import audit_keys

    with operation.change() as session:
        keys = audit_keys(operation.master(session))
        archiving.sign_anew(session, keys)
    while True:
        with operation.change() as session:
            if audit.seal(session, keys[0]) is None:
                return


def _secrets(session: "Session") -> list[str]:
    """Everything that is encrypted under the master key."""
    from sqlmodel import col, select

    from identity.authentication import totp
    from identity.keys.table import SigningKey

    query = select(SigningKey.private).where(col(SigningKey.private).is_not(None))
    return [*filter(None, session.exec(query)), *totp.sealed(session)]


def _find(session: "Session", kid: str) -> "SigningKey":
    from sqlmodel import col, select

    from identity.errors import Conflict, NotFound
    from identity.keys.table import SigningKey

    query = select(SigningKey).where(col(SigningKey.kid).startswith(kid, autoescape=True))
    keys = session.exec(query.limit(2)).all()
    if not keys or not kid:
        raise NotFound(f"there is no key {kid}")
    if len(keys) > 1 and keys[0].kid != kid:
        raise Conflict(f"several keys begin with {kid}")
    return keys[0]


def _end(key: "SigningKey") -> object:
    return "revoked" if key.state == "revoked" else key.expires_at
