"""Logos: whatever an administrator hands in is read as a picture, and drawn anew.

What is served is made of the pixels alone: nothing of the file that came in survives, neither what
it says of itself nor what lies behind its end. So it can be nothing but a picture, whatever else
it was. It is looked at before it is unpacked: a small file may stand for a very large picture.
Pillow is imported when the first comes.
"""

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING, Final, NamedTuple

from identity.errors import ValidationFailed

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS: Final = ("PNG", "JPEG", "WEBP")
MEDIA: Final = ("image/png", "image/jpeg", "image/webp")
LARGEST: Final = 60 * 1024
"""Bytes of a file: with what a form puts around it, it fits into a body (`http.messages`)."""
LONGEST_SIDE: Final = 2048
SHORTEST_SIDE: Final = 16
SCAN: Final = b"\xff\xda"
MOST_SCANS: Final = 100
"""Of a JPEG, each of which may be sixteen bytes and goes over all of its pixels; those that are
made to be looked at have about ten."""
WIDEST: Final = 8
"""How many times wider than high, or higher than wide."""
BOX: Final = (384, 96)
"""Pixels of what is kept: twice and three times what is shown, for fine screens."""
KEPT: Final = 12 * 1024
"""Bytes of what is kept, for a page weighs 60 KB with all that belongs to it."""
_QUALITIES = (90, 75, 60, 40)


class Drawn(NamedTuple):
    image: bytes
    """WebP."""
    digest: str
    width: int
    height: int


def drawn(data: bytes) -> Drawn:
    """Raises `ValidationFailed`. Takes up to some tenths of a second."""
    if len(data) > LARGEST:
        raise _refused(f"must have at most {LARGEST // 1024} KiB")
    image = _opened(data)
    image.thumbnail(BOX)
    encoded = _encoded(image)
    width, height = image.size
    return Drawn(encoded, hashlib.sha256(encoded).hexdigest()[:24], width, height)


def _opened(data: bytes) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data), formats=FORMATS) as found:
            _check(found)
            if data.startswith(b"\xff\xd8") and data.count(SCAN) > MOST_SCANS:
                raise _refused("cannot be read as a picture")
            return found.convert("RGBA")
    except ValidationFailed:
        raise
    except UnidentifiedImageError:
        raise _refused("must be a picture: PNG, JPEG or WebP") from None
    except Exception:  # whatever a decoder makes of a file that somebody has made for it
        raise _refused("cannot be read as a picture") from None


def _check(found: "Image") -> None:
    """By its head, before a pixel of it is unpacked."""
    width, height = found.size
    if max(width, height) > LONGEST_SIDE or min(width, height) < SHORTEST_SIDE:
        words = f"must have {SHORTEST_SIDE} to {LONGEST_SIDE} pixels on each side"
        raise _refused(f"{words}; it has {width} × {height}")
    if max(width, height) > WIDEST * min(width, height):
        raise _refused(f"must not be more than {WIDEST} times longer than broad")
    if getattr(found, "is_animated", False):
        raise _refused("must not move")


def _encoded(image: "Image") -> bytes:
    """As it is, unless that is too large: then with losses that nobody sees; nothing but noise is
    then too large still, and becomes smaller."""
    tries = [{"lossless": True, "quality": 60}]
    tries += [{"quality": each, "alpha_quality": each} for each in _QUALITIES]
    while True:
        for options in tries:
            into = BytesIO()
            image.save(into, "WEBP", method=4, exif=b"", icc_profile=b"", **options)
            if into.tell() <= KEPT:
                return into.getvalue()
        image.thumbnail((image.width // 2, image.height // 2))


def _refused(words: str) -> ValidationFailed:
    return ValidationFailed([("", f"the logo {words}")])
