"""Hashes made by other software (Django, OpenSSL, crypt(3), bcrypt, argon2-cffi, hashlib)."""

import re

import bcrypt
import pytest

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.hashes.recognising import recognise
from identity.directory.hashes.schemes import SCHEMES

PASSWORD = "correct horse é"

FOREIGN = [
    ("bcrypt", "$2a$04$o3fF7I.WuY9sr6ifFAKtEOALymC.CQPHyZKGKPB56Aro4lRG9hSwC"),
    ("bcrypt", "$2b$04$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC"),
    ("bcrypt", "$2y$04$Je0aUXtcXbrVPvfygF9I1.eoWJFRws/p60TT2yjcljKjAaLSzW0FW"),
    (
        "argon2",
        "$argon2id$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$UwVRQZc23e4IKfVp+/ZIl//2t3lADeDgKfKl9ppc9XM",
    ),
    (
        "argon2",
        "$argon2i$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$FnsBoFJNWiJ/jfd+GAEgI1XalCim1eP9cKjq8ugVuHY",
    ),
    (
        "argon2",
        "$argon2d$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$PeK1yEdk/1TU8iEji7vf0kdQ13a0q1WPFr5YzE34uWY",
    ),
    (
        "argon2",
        "$argon2i$v=16$m=64,t=1,p=2$c2FsdFNBTFQ$bdwpKJU0EMrruvr7P2oqgaoREZbeNug1TlVeMfQAdYQ",
    ),
    (
        "argon2",  # as version 1.0 wrote it
        "$argon2i$m=64,t=1,p=2$c2FsdFNBTFQ$bdwpKJU0EMrruvr7P2oqgaoREZbeNug1TlVeMfQAdYQ",
    ),
    ("scrypt", "$scrypt$ln=10,r=8,p=1$c2FsdFNBTFQ$k7tL55WqhK9gao/jYkPcf+q8zwB+FlS5b+NhhJTAyV8"),
    ("pbkdf2_sha1", "$pbkdf2$1000$c2FsdFNBTFQ$UweMBDFymSxiJ7gvanxEn6y8Yws"),
    (
        "pbkdf2_sha256",
        "$pbkdf2-sha256$1000$c2FsdFNBTFQ$h9xM8drpPLiri5vPfqZnKWIna76lKr5TsBXpFbSAcgo",
    ),
    (
        "pbkdf2_sha512",
        "$pbkdf2-sha512$1000$c2FsdFNBTFQ$8wMLqDGbxd9VPLvymz.vqXXWMzHgPOItW6UTgQMNtu3qHUzCgcXAOp7w"
        "06JPSUPtKOfIwlzG1Sj2KagyNq2Fyw",
    ),
    ("phpass", "$P$6saltSALTimE2o8sBNMyovuNfRPSML/"),
    ("phpass", "$H$6saltSALTimE2o8sBNMyovuNfRPSML/"),
    ("md5_crypt", "$1$saltSALT$4YaifMFO1ET.pbLBRiAkC/"),
    ("sha256_crypt", "$5$saltSALT$jl/uPTG/nEqbvsyy6UzIqM9dQdWj94LQFzaaYyxnI1."),
    ("sha256_crypt", "$5$rounds=1000$saltSALT$1L1ASRivKihgjnDXyEXvTh1CMtqguyev.a0SPp3p7eD"),
    (
        "sha512_crypt",
        "$6$saltSALT$wBZpZ7b2EKEaoTUgeX/0KJh9lcvd7gTLYA9pdKSH1j8/1jkoUs/aE6NiuVQsN53x1.djO8lWj7rKw"
        "XDO4zOah/",
    ),
    (
        "sha512_crypt",
        "$6$rounds=1000$saltSALT$44QU.aFFNKLhQZporvZ3w3B4hUwiNda/F4VzcpBH9dIxl2S03qqUjDUUMtbzFCoJGy"
        "QUWbsM7QH6BN5Tbt5uT1",
    ),
    (
        "django_pbkdf2_sha256",
        "pbkdf2_sha256$1000$saltSALT$h9xM8drpPLiri5vPfqZnKWIna76lKr5TsBXpFbSAcgo=",
    ),
    ("django_pbkdf2_sha1", "pbkdf2_sha1$1000$saltSALT$UweMBDFymSxiJ7gvanxEn6y8Yws="),
    (
        "django_scrypt",
        "scrypt$1024$saltSALT$8$5$YDVCRZfRYF3qmr7X5M0dqh4O8Tfkwg0pF3H6k5/RnNX46D1gXJw80mzEWLtIAl0b"
        "dO6BL99aQEldRAF3AtzWGA==",
    ),
    (
        "django_argon2",
        "argon2$argon2id$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$UwVRQZc23e4IKfVp+/ZIl//2t3lADeDgKfKl9ppc9XM",
    ),
    (
        "django_bcrypt_sha256",
        "bcrypt_sha256$$2b$04$cRhkM52ZFrE12jvnTTVjIOTTWKE0tx/qYyx3xWvkJPcw2VZC5DqLu",
    ),
    ("django_bcrypt", "bcrypt$$2b$04$y5unujniz0nrAPqqajru9O9567BfK77o5MDGecPzG47H36IhgwrPq"),
    ("django_salted_md5", "md5$saltSALT$8efc49f851cd2c7ca6ff3d85c6ad3f46"),
    ("django_salted_sha1", "sha1$saltSALT$e51be065f87daf09c79e74126856e6b13400edfe"),
    ("ldap_salted_md5", "{SMD5}+73yYqa27WOJZfwj8WnC43NhbHRTQUxU"),
    ("ldap_salted_sha1", "{SSHA}/L2vA3hCV9kDPko8wmf338+6nNBzYWx0U0FMVA=="),
    ("ldap_salted_sha1", "{ssha}/L2vA3hCV9kDPko8wmf338+6nNBzYWx0U0FMVA=="),
    (
        "ldap_salted_sha256",
        "{SSHA256}dkeZNPyUp6EH0ygCa7FYZt+dhRl2Sz7xGzxBUF6HJNtzYWx0U0FMVA==",
    ),
    (
        "ldap_salted_sha512",
        "{SSHA512}eh4gMwO7amQI4FZ8vE0E+knpM3ePATg5O7+avIxXc5Kn8Yf3DJtbGjhZtx3Gvr3tegzzaNy59OsRGQzC"
        "9oit8XNhbHRTQUxU",
    ),
    ("ldap_pbkdf2_sha1", "{PBKDF2}1000$c2FsdFNBTFQ$UweMBDFymSxiJ7gvanxEn6y8Yws"),
    (
        "ldap_pbkdf2_sha256",
        "{PBKDF2-SHA256}1000$c2FsdFNBTFQ$h9xM8drpPLiri5vPfqZnKWIna76lKr5TsBXpFbSAcgo",
    ),
    (
        "ldap_pbkdf2_sha512",
        "{PBKDF2-SHA512}1000$c2FsdFNBTFQ$8wMLqDGbxd9VPLvymz.vqXXWMzHgPOItW6UTgQMNtu3qHUzCgcXAOp7w06"
        "JPSUPtKOfIwlzG1Sj2KagyNq2Fyw",
    ),
    ("bcrypt", "{CRYPT}$2b$04$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC"),
    ("sha256_crypt", "{crypt}$5$saltSALT$jl/uPTG/nEqbvsyy6UzIqM9dQdWj94LQFzaaYyxnI1."),
    # Made by Werkzeug itself.
    (
        "werkzeug_scrypt",
        "scrypt:1024:8:1$saltSALTsaltSALT$b296c5d181289a2fd91c29b23e7208277ba453f24ef78712326f0ef4f"
        "35a255a6faa1315c4ad86f4ffbc96871195ced2b426bf6fd35dea834d5ca71cbfc73d90",
    ),
    (
        "werkzeug_pbkdf2",
        "pbkdf2:sha1:1000$saltSALTsaltSALT$bfd70d00f24098e20725b144504f64bb7724dc32",
    ),
    (
        "werkzeug_pbkdf2",
        "pbkdf2:sha256:1000$saltSALTsaltSALT$0342f2f7377c88b18de855a1642c98acc8069a212d70a6a3ccd8c"
        "7319f6b6442",
    ),
    (
        "werkzeug_pbkdf2",
        "pbkdf2:sha512:1000$saltSALTsaltSALT$3d5e510fe839688f7bed5cb705cfae6e6c3acb4b25595d6bfffe8"
        "fe444fabe76277b5d052e457e377c8a37bbd21d2282527801afdce8191b3e0f0de08a15382b",
    ),
    # By the layout that ASP.NET Core publishes, with node's PBKDF2; a port of it to npm agrees.
    (
        "aspnet_identity",
        "AQAAAAAAAAPoAAAAEHNhbHRTQUxUc2FsdFNBTFS/1w0A8kCY4gclsURQT2S7dyTcMsngtCh2pfWrslKhLQ==",
    ),
    (
        "aspnet_identity",
        "AQAAAAEAAAPoAAAAEHNhbHRTQUxUc2FsdFNBTFQDQvL3N3yIsY3oVaFkLJisyAaaIS1wpqPM2Mcxn2tkQg==",
    ),
    (
        "aspnet_identity",
        "AQAAAAIAAAPoAAAAEHNhbHRTQUxUc2FsdFNBTFQ9XlEP6Dloj3vtXLcFz65ubDrLSyVZXWv//o/kRPq+dg==",
    ),
    # bcrypt of base64(HMAC-SHA-384), as WordPress 6.8 documents it.
    ("wordpress", "$wp$2y$04$KkFDEEUeoA.4DOgWdfiQbOGv3EkFRPbFr0u5m4l8u8vzOReqQzQ3K"),
    # crypt(3), called by perl.
    ("yescrypt", "$y$j75$saltSALTsaltSALT$jioZ8B7kxMOjwf5QYS9Hsh25jpY3G/cTAlKNveDjW.3"),
    # Spring's encoders are Java's PBKDF2, which made the first two, and scrypt, by node.
    (
        "spring_pbkdf2",
        "{pbkdf2}73616c7453414c54eea131df1c08bd7d369c406c6762b155328988d705fc7fc24f64c656740f8f55",
    ),
    (
        "spring_pbkdf2",
        "{pbkdf2@SpringSecurity_v5_8}73616c7453414c5473616c7453414c541d96c367321498d952fa8040b4265"
        "11a109ed6bee11c3977bafb93d8f189b00d",
    ),
    (
        "spring_scrypt",
        "{scrypt@SpringSecurity_v5_8}$a0801$c2FsdFNBTFRzYWx0U0FMVA==$spbF0YEomi/ZHCmyPnIIJ3ukU/JO94"
        "cSMm8O9PNaJVo=",
    ),
    ("bcrypt", "{bcrypt}$2a$04$o3fF7I.WuY9sr6ifFAKtEOALymC.CQPHyZKGKPB56Aro4lRG9hSwC"),
    (
        "argon2",
        "{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=64,t=1,p=2$c2FsdFNBTFQ$UwVRQZc23e4IKfVp+/ZIl"
        "//2t3lADeDgKfKl9ppc9XM",
    ),
    ("ldap_salted_sha1", "{ldap}{SSHA}/L2vA3hCV9kDPko8wmf338+6nNBzYWx0U0FMVA=="),
    # By the package firebase-scrypt of npm.
    (
        "firebase_scrypt",
        "$fbscrypt$v=1,n=8,r=8,p=1,ss=Bw==,sk=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2N"
        "zg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==$c2FsdFNBTFQhIQ==$xr12T8s2orC0j5jVO9LqcDSgi/CiOZ0joxPNO"
        "ox7PyeYR7CewVKOAr5H586t6+sO6qzc/HsU4VxpAZYTKjGleA==",
    ),
    # The first format of our own scheme, without HMAC.
    (
        "bcrypt_sha256",
        "$bcrypt-sha256$2b,4$/UXqZQBMKu2CxL8//yiU3O$vISyrOaohL4n6f3aL.yADHofQkao4z6",
    ),
]

REFUSED = {
    "nothing": "",
    "plain text": "correct horse",
    "plain text that looks like a prefix": "$2b$04$secret",
    "raw MD5": "5f4dcc3b5aa765d61d8327deb882cf99",
    "raw SHA-1": "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8",
    "raw SHA-256": "5e884898da28047151d0e56f8dc6292773603d0d6aabbd62a11ef721d1542d8",
    "unsalted LDAP": "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
    "unsalted LDAP MD5": "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
    "LDAP plain text": "{CLEARTEXT}password",
    "DES crypt": "abJnggxhB/yWI",
    "LDAP DES crypt": "{CRYPT}abJnggxhB/yWI",
    "Django DES crypt": "crypt$ab$abJnggxhB/yWI",
    "Django unusable": "!abcdefghijklmnopqrstuvwxyz0123456789ABCD",
    "broken bcrypt": "$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e",
    "first bcrypt": "$2$04$5BJqKfqMQvV7nS.yUguNcuRfMMOXK0xPWavM7pOzjEi5ze5T1k8/S",
    "settings without a hash": "$2b$04$5BJqKfqMQvV7nS.yUguNcu",
    "scrypt settings without a hash": "$scrypt$ln=10,r=8,p=1$c2FsdFNBTFQ",
    "padded with a line feed": "$1$saltSALT$4YaifMFO1ET.pbLBRiAkC/\n",
    "foreign digits": "$1$saltSALT$4YaifMFO1ET.pbLBRiAkC٣",
    "a salt that bcrypt refuses": f"$bcrypt-sha256$v=2,t=2b,r=04${'.' * 22}${'.' * 31}",
    "base64 of the wrong length": "{SSHA}" + "A" * 33,
    # What would hold a hashing thread for minutes, or take all memory.
    "bcrypt cost 17": "$2b$17$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC",
    "bcrypt cost 31": "$2b$31$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC",
    "bcrypt_sha256 cost 31": f"$bcrypt-sha256$v=2,t=2b,r=31${'.' * 22}${'.' * 31}",
    "pbkdf2 rounds 10^9": "pbkdf2_sha1$1000000000$saltSALT$UweMBDFymSxiJ7gvanxEn6y8Yws=",
    "pbkdf2 rounds 5,000,001": "pbkdf2_sha1$5000001$saltSALT$UweMBDFymSxiJ7gvanxEn6y8Yws=",
    "pbkdf2 rounds 0": "pbkdf2_sha1$0$saltSALT$UweMBDFymSxiJ7gvanxEn6y8Yws=",
    "sha-crypt rounds": "$5$rounds=999999999$saltSALT$1L1ASRivKihgjnDXyEXvTh1CMtqguyev.a0SPp3p7eD",
    "phpass cost 30": "$P$SsaltSALTimE2o8sBNMyovuNfRPSML/",
    "argon2 memory": f"$argon2id$v=19$m=4194304,t=1,p=1$c2FsdFNBTFQ${'A' * 43}",
    "argon2 passes": f"$argon2id$v=19$m=65536,t=33,p=1$c2FsdFNBTFQ${'A' * 43}",
    "argon2 lanes": f"$argon2id$v=19$m=65536,t=1,p=17$c2FsdFNBTFQ${'A' * 43}",
    "argon2 without memory": f"$argon2id$v=19$m=8,t=1,p=2$c2FsdFNBTFQ${'A' * 43}",
    "scrypt memory": f"$scrypt$ln=20,r=8,p=1$c2FsdFNBTFQ${'A' * 43}",
    "scrypt work": f"$scrypt$ln=17,r=8,p=5$c2FsdFNBTFQ${'A' * 43}",
    "scrypt without blocks": f"$scrypt$ln=17,r=0,p=1$c2FsdFNBTFQ${'A' * 43}",
    "Django scrypt N": f"scrypt$1000$saltSALT$8$1${'A' * 86}==",
    "a mile of salt": "$pbkdf2$1000$" + "A" * 2000 + "$UweMBDFymSxiJ7gvanxEn6y8Yws",
}


@pytest.fixture(scope="module")
def hasher() -> PasswordHasher:
    return PasswordHasher(rounds=4)


@pytest.mark.parametrize(("scheme", "encoded"), FOREIGN)
def test_a_foreign_hash_is_identified_verifies_and_is_due_for_a_rehash(
    hasher: PasswordHasher, scheme: str, encoded: str
) -> None:
    assert hasher.identify(encoded) == scheme
    right = hasher.verify(PASSWORD, encoded)
    assert (right.ok, right.rehash) == (True, True)
    wrong = hasher.verify(PASSWORD + "!", encoded)
    assert (wrong.ok, wrong.rehash) == (False, False)


def test_every_scheme_has_a_vector() -> None:
    assert {scheme for scheme, _ in FOREIGN} == set(SCHEMES)


def test_the_published_phpass_vector_verifies(hasher: PasswordHasher) -> None:
    assert hasher.verify("test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0").ok


@pytest.mark.parametrize("encoded", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_unsalted_broken_or_too_costly_is_refused_and_never_verifies(
    hasher: PasswordHasher, encoded: str
) -> None:
    assert hasher.identify(encoded) is None
    assert not hasher.verify(PASSWORD, encoded).ok


@pytest.mark.parametrize("encoded", [encoded for _, encoded in FOREIGN])
def test_a_damaged_foreign_hash_is_a_wrong_password(hasher: PasswordHasher, encoded: str) -> None:
    tail = re.sub("[A-Za-z]", "0", encoded[-8:])
    for damaged in {encoded[:-1], encoded[:-8] + tail + "x", encoded.replace("$", "$$")}:
        if damaged == encoded:
            continue
        assert not hasher.verify(PASSWORD, damaged).ok


@pytest.mark.parametrize("password", ["x" * 100, "a" + "é" * 60])
def test_bcrypt_hashes_of_long_passwords_verify_by_their_first_72_bytes(
    hasher: PasswordHasher, password: str
) -> None:
    encoded = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    assert hasher.verify(password, encoded).ok
    upgraded = hasher.hash(password)
    assert hasher.verify(password, upgraded).ok
    assert not hasher.verify(password[:-1], upgraded).ok


def test_a_foreign_hash_of_a_decomposed_spelling_still_verifies(hasher: PasswordHasher) -> None:
    decomposed = "cafe\u0301 au lait"
    encoded = bcrypt.hashpw(decomposed.encode(), bcrypt.gensalt(4)).decode()
    assert hasher.verify(decomposed, encoded).ok


def test_limits_are_where_the_module_says(hasher: PasswordHasher) -> None:
    for encoded in (
        "$2b$16$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC",
        "pbkdf2_sha1$5000000$saltSALT$UweMBDFymSxiJ7gvanxEn6y8Yws=",
        "$5$rounds=1000000$saltSALT$1L1ASRivKihgjnDXyEXvTh1CMtqguyev.a0SPp3p7eD",
        f"$argon2id$v=19$m=262144,t=8,p=16$c2FsdFNBTFQ${'A' * 43}",
        f"$scrypt$ln=17,r=8,p=4$c2FsdFNBTFQ${'A' * 43}",
    ):
        assert recognise(encoded) is not None
