"""What `service.warnings` finds, in the reader's language. It speaks English, as the command line
does; its sentences are marked here, and known again with the values that stand in them."""

import re

from identity.pages.words import Words, _, said
from identity.service.findings import Finding

SAID = (
    _("%(words)s, though %(due)s is due"),
    _("%(algorithm)s %(key)s..., in use for %(age)s"),
    _("%(algorithm)s %(key)s... signs once verifiers know it"),
    _("%(count)s days"),
    _("%(count)s hours"),
    _("none yet; the first start makes one"),
    _("none for %(audience)s yet, which an audience has chosen; the service makes it"),
    _("the running service rotates it; start it, or run `identity keys rotate`"),
    _("the setting says %(algorithm)s"),
    _("it is changed at the next start"),
    _("%(count)s of them active administrators"),
    _("no active user has the role admin"),
    _("counts only for who has signed in with a second factor"),
    _("whoever learns an administrator's password can do all that they can"),
    _("%(count)s of them have no second factor: they set one up at /account/factors; %(command)s"),
    _("the people of a demonstration are among them, and have one password that was shown"),
    _("%(count)s events wait to be sealed for over a minute"),
    _("the running service does that; start it"),
    _("sealed; `identity audit verify` checks the chain"),
    _("%(client)s could not be told of %(count)s that ended"),
    _("GET /clients/{id}/logouts says why; is its backchannel_logout_uri right?"),
    _("clients have been told"),
    _("%(count)s could not be sent"),
    _("`identity mail list` says why, `identity mail test ADDRESS` what the server says"),
    _("none are sent: IDENTITY_SMTP_URL is not set"),
    _(
        "without mails nobody can reset a password, be invited, or hear of what happens to their "
        "account"
    ),
    _("have been sent"),
    _("failed logins hold up more than one at one address: %(count)s"),
    _("`identity blocks list` says which; somebody may be guessing passwords"),
    _("nobody is held up everywhere"),
    # What they are about.
    _("signing key"),
    _("users"),
    _("role admin"),
    _("audit"),
    _("logouts"),
    _("mails"),
    _("blocks"),
)
PLACE = re.compile(r"%\((\w+)\)s")
_OURS = frozenset({"words", "age", "due"})
"""Values that are sentences of these themselves. No other is: it may be the name of anything."""


def shown(finding: Finding) -> Finding:
    """Its `what` is the same word still, for whoever looks it up."""
    mend = words(finding.mend) if finding.mend else ""
    return finding._replace(what=Words(finding.what), words=words(finding.words), mend=mend)


def words(text: str) -> str:
    """In the language of this request; as it is where it is none of these."""
    for sentence, pattern in _PATTERNS:
        if found := pattern.fullmatch(text):
            values = found.groupdict()
            ours = {name: words(values[name]) for name in _OURS & values.keys()}
            return said(sentence) % (values | ours) if values else said(sentence)
    return text


def _pattern(sentence: str) -> re.Pattern[str]:
    """Places of a sentence may hold anything, and a count digits."""
    pieces = PLACE.split(sentence)
    for number, piece in enumerate(pieces):
        if number % 2:
            pieces[number] = f"(?P<{piece}>{'[0-9.]+' if piece == 'count' else '.+?'})"
        else:
            pieces[number] = re.escape(piece)
    return re.compile("".join(pieces), re.DOTALL)


_PATTERNS = [(sentence, _pattern(sentence)) for sentence in SAID]
