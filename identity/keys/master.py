"""The master key: what encrypts every secret that the database must give back.

It is a setting or a file. Either holds one Fernet key, or several: the first encrypts, all
decrypt, so that it can be replaced: put the new key first, start again, `reencrypt`, and take
the old key out.
"""

import os
import re
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlmodel import Session, col, select

from identity.keys.table import SigningKey
from identity.records import audit
from identity.settings import Settings, SettingsError
from identity.verifier.gate.encoding import b64url_decode

FILE = "master.key"
SETTING = "IDENTITY_MASTER_KEY"
_LARGEST = 16 * 1024
_LENGTH = 44  # 32 octets in padded base64url


class MasterKey:
    """One or several Fernet keys, newest first. `source` names where they come from."""

    def __init__(self, keys: Sequence[str], source: str, file: Path | None = None) -> None:
        self.source = source
        self._file = file
        self._use(keys)

    def _use(self, keys: Sequence[str]) -> None:
        self._secrets = [b64url_decode(key.rstrip("=").encode()) for key in keys]
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def __repr__(self) -> str:
        return f"<MasterKey of {self.source}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a master key is not copied")

    def encrypt(self, secret: bytes) -> str:
        return self._fernet.encrypt(secret).decode()

    def decrypt(self, text: str) -> bytes:
        """`SettingsError` where `text` was encrypted under another key."""
        try:
            return self._fernet.decrypt(text)
        except InvalidToken:
            self._read_again()
        try:
            return self._fernet.decrypt(text)
        except InvalidToken:
            raise SettingsError(
                f"{self.source}: does not decrypt what the database holds: "
                "it was encrypted under another master key"
            ) from None

    def reencrypt(self, text: str) -> str:
        """The same secret under the newest key."""
        return self.encrypt(self.decrypt(text))

    def derive(self, purpose: str) -> bytes:
        """32 octets for `purpose`, by HKDF-SHA256 (RFC 5869) from the newest key."""
        return _derive(self._secrets[0], purpose)

    def derive_all(self, purpose: str) -> list[bytes]:
        """The same from every key, newest first: what may have been used before a rotation."""
        return [_derive(secret, purpose) for secret in self._secrets]

    def _read_again(self) -> None:
        """Another process may have met a file that was rotated after this one read it."""
        if self._file is not None:
            self._use(_read(self._file))


def load(session: Session, settings: Settings) -> MasterKey:
    """The master key in force, checked against the keys in the database; made at first start.

    `SettingsError` names the file or setting and says why the start is refused.
    """
    rows = _encrypted(session)  # asked first: whoever wrote these made the file before
    file = settings.keys.keys_dir / FILE
    if settings.keys.master_key is None and _absent(file):
        if rows:
            raise SettingsError(
                f"{file}: is missing, but the database holds signing keys encrypted under it; "
                f"restore it from its backup, or give the key as {SETTING}"
            )
        _make(file)
    master = read(settings)
    _decrypt(rows or _encrypted(session), master)  # another machine may have written the first
    return master


def read(settings: Settings) -> MasterKey:
    """The master key in force, whatever the database holds. `SettingsError` where there is none."""
    if settings.keys.master_key is not None:
        words = re.split(r"[,\s]+", settings.keys.master_key.get_secret_value().strip(", \n\t\r"))
        return MasterKey(_checked(words, SETTING, "key"), SETTING)
    file = settings.keys.keys_dir / FILE
    return MasterKey(_read(file), str(file), file)


def check(session: Session, master: MasterKey) -> None:
    """`SettingsError` unless `master` decrypts everything that the database holds."""
    _decrypt(_encrypted(session), master)


def _decrypt(rows: Sequence[SigningKey], master: MasterKey) -> None:
    for row in rows:
        assert row.private is not None
        master.decrypt(row.private)


def reencrypt(session: Session, master: MasterKey) -> int:
    """Bring every secret under the newest master key; how many there were."""
    rows = _encrypted(session, lock=True)
    for row in rows:
        assert row.private is not None
        row.private = master.reencrypt(row.private)
        session.add(row)
    audit.record(session, "key.reencrypted", count=len(rows))
    return len(rows)


def _encrypted(session: Session, lock: bool = False) -> Sequence[SigningKey]:
    query = select(SigningKey).where(col(SigningKey.private).is_not(None))
    return session.exec(query.with_for_update() if lock else query).all()


def _derive(secret: bytes, purpose: str) -> bytes:
    info = f"identity {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


def _checked(keys: Sequence[str], source: str, unit: str) -> Sequence[str]:
    """Fernet itself skips characters that are not base64, so the check is ours."""
    for number, key in enumerate(keys, 1):
        where = f"{source}: {unit} {number}" if len(keys) > 1 else source
        if not key:
            raise SettingsError(f"{where}: is empty")
        if re.fullmatch(r"[A-Za-z0-9_-]*=?", key) and len(key) < _LENGTH:
            raise SettingsError(f"{where}: is truncated, {len(key)} of {_LENGTH} characters")
        try:
            if len(key) != _LENGTH or len(b64url_decode(key[:-1].encode())) != 32 or key[-1] != "=":
                raise ValueError
        except ValueError:
            raise SettingsError(
                f"{where}: is not a Fernet key (32 octets in base64url, {_LENGTH} characters)"
            ) from None
    return keys


# --- The file -------------------------------------------------------------------------------


def _absent(file: Path) -> bool:
    try:
        file.lstat()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # reading it says why
    return False


def _read(file: Path) -> Sequence[str]:
    try:
        # NONBLOCK: a named pipe must not hold up the start.
        with open(
            file, "rb", opener=lambda path, how: os.open(path, how | os.O_NONBLOCK)
        ) as opened:
            state = os.fstat(opened.fileno())
            if not stat.S_ISREG(state.st_mode):
                raise SettingsError(f"{file}: is not a file")
            if state.st_mode & 0o077:
                raise SettingsError(
                    f"{file}: others may use it (mode {stat.S_IMODE(state.st_mode):04o}); "
                    f"make it yours alone: chmod 600 {file}"
                )
            content = opened.read(_LARGEST)
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror}") from None
    lines = [line.strip() for line in content.decode("latin-1").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    return _checked(keys or [""], str(file), "key")


def _make(file: Path) -> None:
    """Write a new key. It appears whole or not at all, and of several who try, one does."""
    draft = file.with_name(f".{FILE}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb") as opened:
                opened.write(Fernet.generate_key() + b"\n")
                opened.flush()
                os.fsync(descriptor)
            with suppress(FileExistsError):
                os.link(draft, file)  # unlike a rename, it never replaces
        finally:
            draft.unlink(missing_ok=True)
        _sync_folder(file.parent)
    except OSError as error:
        raise SettingsError(
            f"IDENTITY_KEYS_DIR: {file}: cannot be made: {error.strerror}"
        ) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
