from cryptography.fernet import Fernet
from sqlmodel import select

from identity.keys import master, rotation
from identity.keys.master import MasterKey
from identity.keys.material import prepare, unseal
from identity.keys.table import SigningKey
from identity.records import audit
from identity.settings import Settings
from identity.store import Database


def test_after_reencryption_the_old_master_key_can_go(
    db: Database, settings: Settings, master_key: MasterKey
) -> None:
    material = prepare("ES256", master_key)
    with db.transaction() as session:
        rotation.ensure(session, settings, {"": material})
    file = settings.keys.keys_dir / "master.key"
    newest = Fernet.generate_key().decode()
    file.write_text(f"{newest}\n{file.read_text()}")
    with db.transaction() as session:
        assert master.reencrypt(session, master.load(session, settings)) == 1
    file.write_text(newest + "\n")
    with db.transaction() as session:
        only = master.load(session, settings)
        assert unseal(session.get_one(SigningKey, material.kid), only)
        assert session.exec(
            select(audit.AuditEvent.detail).where(audit.AuditEvent.event == "key.reencrypted")
        ).all() == [{"count": 1}]
