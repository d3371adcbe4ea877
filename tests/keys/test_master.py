import os
import pickle
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from identity.keys import master, rotation
from identity.keys.master import MasterKey
from identity.keys.material import prepare, unseal
from identity.keys.table import SigningKey
from identity.settings import Settings, SettingsError
from identity.store import Database

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"])


def new() -> str:
    return Fernet.generate_key().decode()


def load(db: Database, settings: Settings) -> MasterKey:
    with db.transaction() as session:
        return master.load(session, settings)


def put(settings: Settings, content: str, mode: int = 0o600) -> Path:
    settings.keys.keys_dir.mkdir(exist_ok=True)
    file = settings.keys.keys_dir / "master.key"
    file.write_text(content)
    file.chmod(mode)
    return file


def refusal(db: Database, settings: Settings) -> str:
    with pytest.raises(SettingsError) as refused:
        load(db, settings)
    return str(refused.value)


@pytest.fixture
def signing_key(db: Database, settings: Settings, master_key: MasterKey) -> str:
    """Something in the database that is encrypted under the master key."""
    material = prepare("ES256", master_key)
    with db.transaction() as session:
        rotation.ensure(session, settings, {"": material})
    return material.kid


def test_first_start_makes_a_key_that_only_its_owner_may_read(
    db: Database, settings: Settings
) -> None:
    made = load(db, settings)
    folder, file = settings.keys.keys_dir, settings.keys.keys_dir / "master.key"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(folder) == ["master.key"]
    assert load(db, settings).decrypt(made.encrypt(b"secret")) == b"secret"


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o610, 0o644, 0o777])
def test_a_key_that_others_may_use_is_refused(db: Database, settings: Settings, mode: int) -> None:
    file = put(settings, new(), mode)
    assert refusal(db, settings) == (
        f"{file}: others may use it (mode {mode:04o}); make it yours alone: chmod 600 {file}"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is empty"),
        ("\n\n# only a comment\n", "is empty"),
        ("{key:.43}", "is truncated, 43 of 44 characters"),
        ("{key:.10}\n", "is truncated, 10 of 44 characters"),
        ("{key}\n{key:.20}", "key 2: is truncated, 20 of 44 characters"),
        ("{key}A", "is not a Fernet key (32 octets in base64url, 44 characters)"),
        ("=" * 44, "is not a Fernet key (32 octets in base64url, 44 characters)"),
        ("+" + "A" * 42 + "=", "is not a Fernet key (32 octets in base64url, 44 characters)"),
        ("A" * 42 + "B=", "is not a Fernet key (32 octets in base64url, 44 characters)"),
        ("A" * 44, "is not a Fernet key (32 octets in base64url, 44 characters)"),
        ("correct horse", "is not a Fernet key (32 octets in base64url, 44 characters)"),
        ("é\x00", "is not a Fernet key (32 octets in base64url, 44 characters)"),
    ],
)
def test_a_file_that_holds_no_key_is_refused(
    db: Database, settings: Settings, content: str, why: str
) -> None:
    file = put(settings, content.format(key=new()))
    assert refusal(db, settings) == f"{file}: {why}"


def test_what_cannot_be_read_as_a_file_is_refused(db: Database, settings: Settings) -> None:
    file = settings.keys.keys_dir / "master.key"
    file.mkdir(parents=True)
    assert refusal(db, settings) == f"{file}: cannot be read: Is a directory"
    file.rmdir()
    os.mkfifo(file, 0o600)
    assert refusal(db, settings) == f"{file}: is not a file"
    file.unlink()
    file.symlink_to("nowhere")
    assert refusal(db, settings) == f"{file}: cannot be read: No such file or directory"


def test_a_folder_that_cannot_be_one_is_refused(
    db: Database, make: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "occupied").write_text("")
    file = tmp_path / "occupied" / "below" / "master.key"
    settings = make(keys_dir=file.parent)
    assert refusal(db, settings) == f"{file}: cannot be read: Not a directory"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads and writes everything")
def test_a_file_or_folder_without_permission_is_refused(db: Database, settings: Settings) -> None:
    file = put(settings, new(), 0o000)
    assert refusal(db, settings) == f"{file}: cannot be read: Permission denied"
    file.unlink()
    file.parent.chmod(0o500)
    assert refusal(db, settings) == f"IDENTITY_KEYS_DIR: {file}: cannot be made: Permission denied"


def test_a_disk_that_takes_no_file_is_named(
    db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    file = settings.keys.keys_dir / "master.key"
    assert (
        refusal(db, settings)
        == f"IDENTITY_KEYS_DIR: {file}: cannot be made: No space left on device"
    )
    assert os.listdir(settings.keys.keys_dir) == []


def test_a_missing_key_is_not_replaced_where_the_database_needs_it(
    db: Database, settings: Settings, signing_key: str
) -> None:
    file = settings.keys.keys_dir / "master.key"
    file.unlink()
    assert refusal(db, settings) == (
        f"{file}: is missing, but the database holds signing keys encrypted under it; "
        "restore it from its backup, or give the key as IDENTITY_MASTER_KEY"
    )
    assert not file.exists()


def test_another_databases_key_is_refused(
    db: Database, make: Callable[..., Settings], settings: Settings, signing_key: str
) -> None:
    why = "does not decrypt what the database holds: it was encrypted under another master key"
    assert refusal(db, make(master_key=new())) == f"IDENTITY_MASTER_KEY: {why}"
    file = put(settings, new())
    assert refusal(db, settings) == f"{file}: {why}"


def test_the_setting_wins_over_the_file(db: Database, make: Callable[..., Settings]) -> None:
    first, second = new(), new()
    settings = make(master_key=f" {first}, {second}\n")
    old = load(db, make(master_key=second))
    both = load(db, settings)
    assert both.decrypt(old.encrypt(b"secret")) == b"secret"
    assert load(db, make(master_key=first)).decrypt(both.encrypt(b"new")) == b"new"
    assert not settings.keys.keys_dir.exists()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", "is empty"),
        ("{key:.40}", "is truncated, 40 of 44 characters"),
        ("{key} hunter2!", "key 2: is not a Fernet key (32 octets in base64url, 44 characters)"),
    ],
)
def test_a_setting_that_is_no_key_is_refused_without_being_shown(
    db: Database, make: Callable[..., Settings], value: str, why: str
) -> None:
    assert refusal(db, make(master_key=value.format(key=new()))) == f"IDENTITY_MASTER_KEY: {why}"


def test_secrets_are_neither_shown_nor_copied(db: Database, settings: Settings) -> None:
    made = load(db, settings)
    secret = (settings.keys.keys_dir / "master.key").read_text().strip()
    assert secret not in repr(made)
    assert secret not in repr(material := prepare("ES256", made))
    assert material.private not in repr(material)
    with pytest.raises(TypeError):
        pickle.dumps(made)


def test_derived_keys_differ_by_purpose_and_survive_a_rotation(
    db: Database, make: Callable[..., Settings]
) -> None:
    first, second = new(), new()
    old = load(db, make(master_key=second))
    both = load(db, make(master_key=f"{first} {second}"))
    assert len(both.derive("audit head")) == 32
    assert both.derive("audit head") != both.derive("something else")
    assert both.derive_all("audit head") == [both.derive("audit head"), old.derive("audit head")]
    assert old.derive("audit head") == load(db, make(master_key=second)).derive("audit head")


def test_a_running_process_reads_the_file_again_when_another_has_rotated_it(
    db: Database, settings: Settings
) -> None:
    running = load(db, settings)
    old = (settings.keys.keys_dir / "master.key").read_text()
    put(settings, f"{new()}\n{old}")
    restarted = load(db, settings)
    assert running.decrypt(restarted.encrypt(b"secret")) == b"secret"


def test_a_private_half_that_was_swapped_is_not_used(
    db: Database, settings: Settings, master_key: MasterKey, signing_key: str
) -> None:
    with db.transaction() as session:
        row = session.get_one(SigningKey, signing_key)
        row.private = prepare("ES256", master_key).private
        with pytest.raises(SettingsError, match="its private half is another key's"):
            unseal(row, master_key)
