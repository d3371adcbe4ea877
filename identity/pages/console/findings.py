"""What `service.warnings` finds, in the reader's language."""

from identity.pages.languages import locale
from identity.pages.words import Words, said
from identity.service.findings import Finding, Sentence, Value


def shown(finding: Finding) -> Finding:
    """Its `what` is the same word still, for whoever looks it up."""
    return finding._replace(
        what=Words(finding.what), words=_told(finding.words), mend=_told(finding.mend)
    )


def _told(value: Value) -> str:
    """A sentence in the language of this request, and the values in it as well: numbers as it
    writes them, and what is no sentence of ours as it is, for it may be the name of anything."""
    if isinstance(value, Sentence):
        values = {name: _told(each) for name, each in value.values.items()}
        return said(value.template) % values if values else said(value.template)
    if isinstance(value, str):
        return value
    from babel.numbers import format_decimal

    return format_decimal(value, "0.0" if isinstance(value, float) else "0", locale())
