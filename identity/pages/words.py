"""Words that people read, marked where they stand, so that they can be translated.

What is marked stays English in Python and becomes the reader's language when a template shows it
(`rendering`), or when values are put into it, `_("%(name)s has left") % {"name": name}`, it is put
into an f-string, or split.
"""

from typing import Any

from identity.pages import catalogues


class Words(str):
    """Marked text, as it stands in the source."""

    __slots__ = ()

    def __mod__(self, values: Any) -> str:
        """Words that are put into words are of the same language."""
        text: str = said(self) % (said(values) if type(values) is Words else values)
        return text

    def __format__(self, spec: str) -> str:
        return format(said(self), spec)

    def split(self, *how: Any, **said_how: Any) -> list[str]:
        """Parts are no longer what the catalogue has, so they are of the translation."""
        return said(self).split(*how, **said_how)


def _(text: str) -> str:
    return Words(text)


def said(text: str) -> str:
    """In the language of this request; as it is where nobody has translated it."""
    return str(catalogues.current().gettext(text)) if text else ""  # "" has the file's header


def counted(one: str, many: str, count: int) -> str:
    """The form that the language of this request has for so many."""
    return catalogues.current().ngettext(one, many, count)
