"""Importing what Keycloak, Auth0 and Firebase export, and `users create --from`."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.users import accounts
from identity.errors import ValidationFailed
from identity.service.importing.exports import users_of
from identity.store import Database
from tests.cli.test_import import counts, users

Identity = Callable[..., Any]
SQLITE = pytest.mark.parametrize("dialect", ["sqlite"])
PASSWORD = "correct horse é"

# 64 octets each of node's PBKDF2, as Keycloak derives them, and argon2-cffi's raw digest.
SALT = "c2FsdFNBTFRzYWx0U0FMVA=="
SHA1 = "v9cNAPJAmOIHJbFEUE9ku3ck3DLJ4LQodqX1q7JSoS2TD+oxQpyR+7GmrMECEGTB450Wnr5G23xY8jNGI4ksHQ=="
SHA256 = "A0Ly9zd8iLGN6FWhZCyYrMgGmiEtcKajzNjHMZ9rZEKyk7FU4MWWfx6pFWVelVFNBXWOySL+0gi0xl7WUY2rpQ=="
SHA512 = "PV5RD+g5aI977Vy3Bc+ubmw6y0slWV1r//6P5ET6vnYne10FLkV+N3yKN7vSHSKCUngBr9zoGRs+Dw3gihU4Kw=="
ARGON2 = "tna60Ghrqtsz7gv0YNn2DLSVe+F2msDY8VbmgnaKUBA="
# By firebase-scrypt of npm.
SIGNER = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg=="
FIREBASE = (
    "xr12T8s2orC0j5jVO9LqcDSgi/CiOZ0joxPNOox7PyeYR7CewVKOAr5H586t6+sO6qzc/HsU4VxpAZYTKjGleA=="
)
CONFIG = f"""hash_config {{
  algorithm: SCRYPT,
  base64_signer_key: {SIGNER},
  base64_salt_separator: Bw==,
  rounds: 8,
  mem_cost: 8,
}}"""


def credential(value: str, algorithm: str, rounds: int, **additional: list[str]) -> dict[str, Any]:
    data = {"hashIterations": rounds, "algorithm": algorithm, "additionalParameters": additional}
    secret = {"value": value, "salt": SALT, "additionalParameters": {}}
    return {
        "type": "password",
        "secretData": json.dumps(secret),
        "credentialData": json.dumps(data),
    }


ARGON2_COSTS = {
    "hashLength": ["32"], "memory": ["64"], "type": ["id"], "version": ["1.3"], "parallelism": ["1"]
}  # fmt: skip
REALM = {
    "id": "5d5e",
    "realm": "orders",
    "roles": {"realm": [{"name": "clerk"}]},
    "users": [
        {
            "username": "ada", "email": "ada@example.com", "emailVerified": True, "enabled": True,
            "firstName": "Ada", "lastName": "Lovelace",
            "realmRoles": ["clerk", "default-roles-orders", "offline_access"],
            "credentials": [credential(SHA256, "pbkdf2-sha256", 1000), {"type": "otp"}],
        },
        {"username": "bob", "enabled": False, "credentials": [credential(SHA1, "pbkdf2", 1000)]},
        {"username": "eve", "requiredActions": ["UPDATE_PASSWORD"],
         "credentials": [credential(SHA512, "pbkdf2-sha512", 1000)]},
        {"username": "kay", "credentials": [credential(ARGON2, "argon2", 5, **ARGON2_COSTS)]},
        {"username": "old", "credentials": [
            {"type": "password", "hashedSaltedValue": SHA256, "salt": SALT,
             "hashIterations": 1000, "algorithm": "pbkdf2-sha256"}]},
        {"username": "nobody"},
        {"username": "service-account-report", "serviceAccountClientId": "report"},
        {"username": "odd", "credentials": [credential("AAAA", "md5", 1)]},
        {"username": "cut", "credentials": [{"type": "password", "secretData": "{", "x": 1}]},
        {"username": "ghost", "realmRoles": ["wish"]},
    ],
    "clients": [],
}  # fmt: skip


def logs_in(db: Database, username: str) -> bool:
    with db.transaction() as session:
        user = accounts.find_by_login(session, username)
    assert user is not None
    assert user.password_hash is not None
    return PasswordHasher(4).verify(PASSWORD, user.password_hash).ok


def test_a_realm_comes_as_keycloak_exports_it(
    identity: Identity, db: Database, tmp_path: Path
) -> None:
    identity("roles", "create", "clerk")
    (tmp_path / "orders-realm.json").write_text(json.dumps(REALM, indent=2))
    done = identity("users", "import", "orders-realm.json")
    assert (done.code, counts(done)["created"], counts(done)["bad"]) == (1, 6, 3), done
    told = [line.partition(": ")[2] for line in done.err.splitlines()]
    assert told == [
        "password_hash is Keycloak's 'md5': known, but not supported",
        "password_hash is Keycloak's, but damaged",
        "no such role: wish",
    ]
    lines = (tmp_path / "orders-realm.json").read_text().splitlines()
    where = int(done.err.splitlines()[2].split(":")[1])
    assert '"ghost"' in "".join(lines[where - 1 : where + 2])
    found = users(identity)
    assert set(found) == {"ada", "bob", "eve", "kay", "old", "nobody"}
    assert (found["ada"]["name"], found["ada"]["roles"]) == ("Ada Lovelace", ["clerk"])
    assert found["ada"]["email_verified"] is True
    assert found["bob"]["status"] == "disabled"
    for username in ("ada", "bob", "eve", "kay", "old"):
        assert logs_in(db, username), username
    assert "must be changed" in identity("users", "show", "eve").out
    again = identity("users", "import", "orders-realm.json", "--no-roles")
    assert (counts(again)["unchanged"], counts(again)["created"]) == (6, 1)


@SQLITE
@pytest.mark.parametrize("name", ["auth0.json", "auth0.ndjson", "auth0.json.gz"])
def test_users_come_as_auth0_exports_them(
    identity: Identity, db: Database, tmp_path: Path, name: str
) -> None:
    import bcrypt

    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    rows: list[dict[str, Any]] = [
        {"_id": {"$oid": "60425da93519d90068f82966"}, "email_verified": True,
         "email": "ada@example.com", "passwordHash": hashed, "tenant": "orders",
         "connection": "Username-Password-Authentication", "_tmp_is_unique": True},
        {"user_id": "google-oauth2|1", "email": "bob@example.com", "name": "Bob", "blocked": True},
        {"user_id": "auth0|2", "passwordHash": "5f4dcc3b5aa765d61d8327deb882cf99",
         "email": "eve@example.com"},
    ]  # fmt: skip
    octets = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    (tmp_path / name).write_bytes(gzip.compress(octets) if name.endswith(".gz") else octets)
    done = identity("users", "import", name)
    assert (done.code, counts(done)["created"]) == (1, 2)
    assert done.err.startswith(f"{name}:3: password_hash is a bare MD5")
    found = users(identity)
    assert found["ada@example.com"]["email_verified"] is True
    assert (found["bob@example.com"]["name"], found["bob@example.com"]["status"]) == (
        "Bob",
        "disabled",
    )
    assert logs_in(db, "ada@example.com")


@SQLITE
def test_users_come_as_firebase_exports_them_with_the_projects_parameters(
    identity: Identity, db: Database, tmp_path: Path
) -> None:
    urlsafe = FIREBASE.replace("+", "-").replace("/", "_")
    exported = {
        "users": [
            {"localId": "a1", "email": "ada@example.com", "emailVerified": True,
             "passwordHash": urlsafe, "salt": "c2FsdFNBTFQhIQ==", "displayName": "Ada",
             "createdAt": "1", "providerUserInfo": []},
            {"localId": "b2", "phoneNumber": "+15550100", "disabled": True},
        ]
    }  # fmt: skip
    (tmp_path / "users.json").write_text(json.dumps(exported))
    without = identity("users", "import", "users.json", "--dry-run")
    assert (without.code, counts(without)["created"]) == (1, 1)
    assert "--hash-config FILE" in without.err
    (tmp_path / "config").write_text(CONFIG)
    done = identity("users", "import", "users.json", "--hash-config", "config")
    assert (done.code, counts(done)["created"]) == (0, 2), done
    assert logs_in(db, "ada@example.com")
    assert users(identity)["+15550100"]["status"] == "disabled"
    (tmp_path / "config").write_text(CONFIG.replace("rounds: 8,", ""))
    wrong = identity("users", "import", "users.json", "--hash-config", "config")
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "mem_cost" in wrong.err


@SQLITE
@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"users": [1',
        '{"users": {}',
        "{" * 100_000,
        '[{"realm": "a"}]',
        '{"a" 1}',
        '{\n"realm": "a"}',
    ],
)
def test_a_file_that_is_no_export_is_one_line(
    identity: Identity, tmp_path: Path, text: str
) -> None:
    (tmp_path / "realm.json").write_text(text)
    done = identity("users", "import", "realm.json")
    assert (done.code, done.err.count("\n")) == (1, 1), done
    assert identity("users", "import", "realm.json", "--format", "wish").code == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=5), JSON), st.lists(JSON), st.sampled_from([None, 2]))
def test_the_list_of_users_is_read_as_json_reads_it(
    around: dict[str, Any], members: list[Any], indent: int | None
) -> None:
    text = json.dumps(around | {"users": members} | {"after": around}, indent=indent)
    assert [member for _, member in users_of(text)] == members
    with pytest.raises(ValidationFailed):
        list(users_of(text[:-1]))


@SQLITE
def test_whatever_a_users_members_are_nothing_breaks(identity: Identity, tmp_path: Path) -> None:
    odd = (1, "x", [1], {"a": 1}, None, True)
    names = (
        "username", "credentials", "requiredActions", "realmRoles", "firstName", "enabled",
        "email", "localId", "passwordHash", "salt", "serviceAccountClientId",
    )  # fmt: skip
    rows = [{"username": "u", name: value} for name in names for value in odd] + list(odd)
    (tmp_path / "realm.json").write_text(json.dumps({"users": rows}))
    done = identity("users", "import", "realm.json", "--dry-run")
    assert done.code == 1
    assert "Traceback" not in done.err
    assert sum(counts(done).values()) > 50


async def test_many_users_are_created_with_passwords_of_their_own_and_only_once(
    identity: Identity, api: Any, tmp_path: Path
) -> None:
    rows = [{"username": f"user{n}", "email": f"user{n}@example.com"} for n in range(22)]
    rows.append({"username": "two words"})
    (tmp_path / "new.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    done = identity("users", "create", "--from", "new.jsonl", "--generate")
    assert done.code == 1
    assert done.err.startswith("new.jsonl:23: username may hold")
    assert "created: 22; updated: 0; unchanged: 0; bad: 1." in done.err
    handed = dict(line.split("\t") for line in done.out.splitlines())
    assert set(handed) == {f"user{n}" for n in range(22)}
    assert len(set(handed.values())) == 22
    form = {"username": "user7", "current_password": handed["user7"], "new_password": PASSWORD}
    assert (await api.post("/password", json=form)).status_code == 204
    again = identity("users", "create", "--from", "new.jsonl", "--generate", "--json")
    shown = json.loads(again.out)
    assert (shown["created"], shown["unchanged"], shown["passwords"]) == (0, 22, {})
    assert shown["bad_rows"][0]["line"] == 23
    for args in (["ada", "--from", "new.jsonl"], [], ["--from", "new.jsonl", "--role", "admin"]):
        assert identity("users", "create", *args).code == 2
