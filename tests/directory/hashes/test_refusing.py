"""A hash that is refused is told apart: unknown, known but not taken, or damaged."""

import re
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from identity.authentication.passwords.hashing import PasswordHasher
from identity.directory.hashes.recognising import recognise
from identity.directory.hashes.refusing import reason
from tests.directory.hashes.test_foreign_hashes import FOREIGN, REFUSED

HASHER = PasswordHasher(4)


def aspnet(rounds: int, *, prf: int = 1, salt: int = 16) -> str:
    numbers = b"".join(number.to_bytes(4) for number in (prf, rounds, salt))
    return b64encode(b"\1" + numbers + bytes(16 + 32)).decode()


COSTLY = {
    "pbkdf2 of 10^9 rounds": "pbkdf2_sha1$1000000000$saltSALT$UweMBDFymSxiJ7gvanxEn6y8Yws=",
    "werkzeug of 4 GiB": f"scrypt:4194304:8:1$saltSALT${'0' * 128}",
    "werkzeug of 10^9 rounds": f"pbkdf2:sha256:1000000000$saltSALT${'0' * 64}",
    "spring's scrypt of 4 GiB": f"{{scrypt}}$160801$c2FsdFNBTFQ=${'A' * 43}=",
    "firebase of 4 GiB": f"$fbscrypt$v=1,n=22,r=8,p=1,ss=Bw==,sk={'A' * 24}$c2FsdA==${'A' * 24}",
    "yescrypt of 4 GiB": f"$y$jK5$saltSALT${'0' * 43}",
    "aspnet of 10^9 rounds": aspnet(10**9),
    "wordpress at cost 31": "$wp$2y$31$KkFDEEUeoA.4DOgWdfiQbOGv3EkFRPbFr0u5m4l8u8vzOReqQzQ3K",
    "argon2 of 4 GiB": f"$argon2id$v=19$m=4194304,t=1,p=1$c2FsdFNBTFQ${'A' * 43}",
    "argon2 of 10^9 passes": "{argon2}$argon2id$v=19$m=64,t=1000000000,p=1$c2FsdFNBTFQ$" + "A" * 43,
    "bcrypt at cost 31": "{bcrypt}$2b$31$hWcGKexISeIxelT6lzbJCe3NHYkuNO6VwD.sSx87cor9MaMiHSKzC",
    "sha-crypt": "$5$rounds=999999999$saltSALT$1L1ASRivKihgjnDXyEXvTh1CMtqguyev.a0SPp3p7eD",
}


@pytest.mark.parametrize("encoded", COSTLY.values(), ids=COSTLY.keys())
def test_what_would_cost_too_much_is_known_and_refused(encoded: str) -> None:
    assert recognise(encoded) is None
    assert not HASHER.verify("x", encoded).ok
    assert "known, but at a cost" in reason(encoded)


@pytest.mark.parametrize(
    ("encoded", "words"),
    [
        (REFUSED["raw MD5"], "MD5 or NT digest: known, but too weak"),
        (REFUSED["raw SHA-1"], "SHA-1 digest: known, but too weak"),
        (REFUSED["unsalted LDAP"], "known, but too weak"),
        (REFUSED["LDAP plain text"], "plain text: known, but too weak"),
        ("{noop}secret", "plain text: known, but too weak"),
        ("{MD5}5f4dcc3b5aa765d61d8327deb882cf99", "known, but too weak"),
        ("{sha256}" + "0" * 80, "known, but too weak"),
        (REFUSED["DES crypt"], "DES crypt or plain text: known, but too weak"),
        (REFUSED["broken bcrypt"], "bcrypt's broken first form: known, but too weak"),
        (REFUSED["Django unusable"], "known, but not supported"),
        ("A" * 68, "ASP.NET Identity v2: known, but not supported"),
        ("$gy$j9T$saltSALT$" + "0" * 43, "gost-yescrypt: known, but not supported"),
        ("$S$DmFtGzDmFtGz" + "0" * 43, "Drupal 7: known, but not supported"),
        (REFUSED["settings without a hash"], "bcrypt, but damaged"),
        (REFUSED["scrypt settings without a hash"], "scrypt, but damaged"),
        (REFUSED["a salt that bcrypt refuses"], "bcrypt_sha256, but damaged"),
        (aspnet(1000, prf=3), "ASP.NET Identity v3, but damaged"),
        (aspnet(1000, salt=60), "ASP.NET Identity v3, but damaged"),
        ("correct horse", "in no format that is known here"),
        ("", "in no format that is known here"),
        ("$wish$", "in no format that is known here"),
    ],
)
def test_a_refusal_names_the_format_and_which_of_three_reasons(encoded: str, words: str) -> None:
    assert HASHER.identify(encoded) is None
    assert words in reason(encoded)


@pytest.mark.parametrize("encoded", [encoded for _, encoded in FOREIGN])
def test_what_begins_like_a_known_hash_is_damaged(encoded: str) -> None:
    for cut in (encoded[: len(encoded) * 2 // 3], f"{encoded}\n", f"{encoded[:-4]}#{encoded[-3:]}"):
        if HASHER.identify(cut) is None:
            assert re.search("but damaged|at a cost|not supported|too weak", reason(cut)), cut


@given(
    st.text() | st.builds("{}{}".format, st.sampled_from([e[:9] for _, e in FOREIGN]), st.text())
)
def test_whatever_text_comes_is_told_in_one_line(encoded: str) -> None:
    if HASHER.identify(encoded) is None:
        words = reason(encoded)
        assert words.startswith("is ")
        assert "\n" not in words
