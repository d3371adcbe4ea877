"""What comes in as a logo: nothing but its pixels is kept, and nothing of it costs much."""

import struct
import time
import zlib
from io import BytesIO
from random import Random

import pytest
from PIL import Image, ImageFile, PngImagePlugin

from identity.directory.branding import logos
from identity.errors import ValidationFailed


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    into = BytesIO()
    image.save(into, form, **options)
    return into.getvalue()


def plain(width: int = 200, height: int = 100, mode: str = "RGBA") -> Image.Image:
    image = Image.new(mode, (width, height), "#0b6b4f")
    image.paste(Image.new(mode, (width // 2, height // 2), "#ffffff"), (width // 4, height // 4))
    return image


def bomb(width: int, height: int) -> bytes:
    """A PNG of so many pixels, all alike: a thousandth of what it unpacks to."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    packing, row = zlib.compressobj(9), bytes(1 + width * 3)
    rows = [packing.compress(row) for _ in range(min(height, 500))]
    packed = b"".join(rows) + packing.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )


def refused(data: bytes) -> str:
    with pytest.raises(ValidationFailed) as refusal:
        logos.drawn(data)
    return refusal.value.detail


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "RGB"),
                       ("JPEG", "CMYK"), ("WEBP", "RGBA")],
)  # fmt: skip
def test_a_picture_is_drawn_anew_in_the_size_that_is_shown(form: str, mode: str) -> None:
    made = logos.drawn(encoded(plain(1200, 600).convert(mode), form))
    assert (made.width, made.height) == (192, 96)
    with Image.open(BytesIO(made.image)) as image:
        assert (image.format, image.size) == ("WEBP", (192, 96))
        red, green, blue, *_ = image.convert("RGBA").getpixel((5, 5))
        if mode in ("RGBA", "RGB"):
            assert abs(red - 0x0B) + abs(green - 0x6B) + abs(blue - 0x4F) < 12
    assert len(made.image) <= logos.KEPT
    again = logos.drawn(encoded(plain(1200, 600).convert(mode), form))
    assert again == made, "the same picture has the same name"


def test_transparency_stays() -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    image.putpixel((3, 3), (255, 0, 0, 255))
    with Image.open(BytesIO(logos.drawn(encoded(image)).image)) as made:
        assert made.convert("RGBA").getpixel((60, 60))[3] == 0


def test_nothing_of_the_file_survives_but_its_pixels() -> None:
    script = b"<script>alert(1)</script><?php system($_GET[0]); ?>"
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", script.decode())
    exif = Image.Exif()
    exif[0x010E] = script.decode()
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 0.0)}
    # A ZIP behind a picture is both: a JAR, a document. So is a page of HTML.
    archive = b"PK\x03\x04" + bytes(26) + script
    for data in (
        encoded(plain(), pnginfo=told) + archive,
        encoded(plain().convert("RGB"), "JPEG", comment=script, exif=exif) + script,
        encoded(plain(), "WEBP", exif=exif, xmp=script, icc_profile=script),
    ):
        made = logos.drawn(data).image
        assert made.startswith(b"RIFF") and made[8:12] == b"WEBP"
        for left in (b"script", b"php", b"PK", b"EXIF", b"XMP", b"ICCP"):
            assert left not in made


@pytest.mark.parametrize(
    "data",
    [
        b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"<?xml version='1.0'?><svg/>", b"%PDF-1.7", b"\x00\x00\x00\x20ftypavif",
        encoded(plain(mode="RGB"), "GIF"), encoded(plain(mode="RGB"), "BMP"),
        encoded(plain(mode="RGB"), "TIFF"), encoded(plain(mode="RGB"), "PPM"),
        encoded(plain(mode="RGB"), "ICO"), encoded(plain(mode="RGB"), "PDF"),
    ],
)  # fmt: skip
def test_other_kinds_of_files_are_refused(data: bytes) -> None:
    assert refused(data) == "the logo must be a picture: PNG, JPEG or WebP"


@pytest.mark.parametrize("size", [(30_000, 30_000), (65_500, 2), (2_049, 2_000), (3_000, 900)])
def test_a_bomb_is_refused_before_it_is_unpacked(size: tuple[int, int]) -> None:
    data = bomb(*size)
    assert len(data) < logos.LARGEST
    began = time.process_time()
    words = refused(data)  # the largest of them by Pillow itself
    assert "pixels on each side" in words or size[0] * size[1] > 10**8
    assert time.process_time() - began < 1.0  # to unpack the first would take a minute


def test_a_picture_that_is_drawn_thousands_of_times_is_refused_before_it_is_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A progressive JPEG whose scans of sixteen bytes each go over four million pixels."""
    whole = encoded(Image.new("L", (2048, 2048), 200), "JPEG", progressive=True, quality=1)
    at = whole.rindex(logos.SCAN)
    often = whole[:at] + whole[at:-2] * ((logos.LARGEST - len(whole)) // len(whole[at:-2]))
    data = often + whole[-2:]
    assert len(data) < logos.LARGEST and data.count(logos.SCAN) > 2000
    drawn, load = [], ImageFile.ImageFile.load

    def counted(image: ImageFile.ImageFile) -> object:
        drawn.append(image)
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    assert refused(data) == "the logo cannot be read as a picture" and not drawn
    assert logos.drawn(whole).width == 96 and drawn


def test_what_a_picture_says_of_itself_is_no_bomb_either() -> None:
    """A megabyte of text, packed into a thousand bytes (zTXt, iTXt)."""
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "a" * 4_000_000, zip=True)
    data = encoded(plain(), pnginfo=told)
    assert len(data) < logos.LARGEST
    assert refused(data) == "the logo cannot be read as a picture"


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (plain(15, 100), "16 to 2048 pixels"),
        (plain(100, 12), "16 to 2048 pixels"),
        (plain(1000, 100), "8 times longer"),
        (plain(16, 129), "8 times longer"),
    ],
)
def test_what_no_page_could_show_is_refused(image: Image.Image, why: str) -> None:
    assert why in refused(encoded(image))


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_moves_is_refused(form: str) -> None:
    others = [Image.new("RGBA", (64, 64), colour) for colour in ("red", "blue")]
    data = encoded(plain(64, 64), form, save_all=True, append_images=others)
    assert refused(data) == "the logo must not move"


def test_a_file_that_is_cut_off_or_too_large_is_refused() -> None:
    whole = encoded(plain(900, 500))
    assert refused(whole[: len(whole) // 2]) == "the logo cannot be read as a picture"
    assert refused(whole + bytes(logos.LARGEST)) == "the logo must have at most 60 KiB"


def test_noise_becomes_small_enough_all_the_same() -> None:
    noise = Image.frombytes("RGBA", (110, 110), Random(7).randbytes(110 * 110 * 4))
    made = logos.drawn(encoded(noise))
    assert len(made.image) <= logos.KEPT and made.width == made.height >= 24


def test_whatever_comes_is_a_picture_or_a_refusal() -> None:
    random, whole = Random(11), encoded(plain())
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(random.randrange(1, 6)):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            made = logos.drawn(bytes(data))
        except ValidationFailed:
            continue
        assert made.image.startswith(b"RIFF")
