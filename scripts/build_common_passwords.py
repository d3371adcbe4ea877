"""Rebuild identity/authentication/passwords/common.bin from the lists of two packages.

    pip install django zxcvbn      # any place but the service's own environment will do
    python scripts/build_common_passwords.py

Prints what `common.txt` must say about it: where from, how many, which digest.
"""

import gzip
import hashlib
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from identity.authentication.passwords.common import SHORTEST, fingerprint  # noqa: E402 - after the path

TARGET = ROOT / "identity" / "passwords" / "common.bin"


def package_folder(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name} is not installed: pip install {name}")
    return Path(spec.origin).parent


def django_passwords() -> list[str]:
    packed = package_folder("django") / "contrib" / "auth" / "common-passwords.txt.gz"
    return gzip.decompress(packed.read_bytes()).decode().split("\n")


def zxcvbn_passwords() -> list[str]:
    return list(import_module("zxcvbn.frequency_lists").FREQUENCY_LISTS["passwords"])


def main() -> None:
    words = {w.strip() for w in django_passwords() + zxcvbn_passwords()}
    # Passwords are longer, but are made of these by putting digits and signs around them.
    words = {w for w in words if len(w) > 7 or (len(w) >= SHORTEST and any(map(str.isalpha, w)))}
    packed = b"".join(sorted({fingerprint(w) for w in words}))
    TARGET.write_bytes(packed)
    print(f"Django {version('django')}, zxcvbn {version('zxcvbn')}")
    print(f"{len(packed) // len(fingerprint(''))} entries, {len(packed)} bytes")
    print(f"SHA-256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main()
