"""What somebody who looks the service over has to say, one thing at a time."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, NewType, Self

Value = str | int | float
"""What stands in a sentence; a text may be another `Sentence`."""

Command = NewType("Command", str)
"""What to type: the same in every language."""


class Sentence(str):
    """An English sentence that knows what it was made of, so that it can be said in another
    language: `template` is what catalogues have (`python -m scripts.words`), and where it says
    `%(name)s` stands the value of that name. A float is said to one decimal."""

    template: str
    values: Mapping[str, Value]

    def __new__(cls, template: str, /, **values: Value) -> Self:
        said = {
            name: f"{value:.1f}" if isinstance(value, float) else value
            for name, value in values.items()
        }
        made = super().__new__(cls, template % said if said else template)
        made.template, made.values = template, values
        return made


class Finding(NamedTuple):
    level: Literal["ok", "note", "problem"]
    what: str
    words: str
    mend: str = ""


Findings = Iterator[Finding]
