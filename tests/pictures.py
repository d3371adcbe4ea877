"""Pictures that tests hand in."""

from io import BytesIO

from PIL import Image


def png(width: int = 64, height: int = 64, colour: str = "#0b6b4f") -> bytes:
    into = BytesIO()
    Image.new("RGBA", (width, height), colour).save(into, "PNG")
    return into.getvalue()
