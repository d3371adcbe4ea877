"""Words that people read, marked where they stand, so that they can be translated."""


def _(text: str) -> str:
    return text
