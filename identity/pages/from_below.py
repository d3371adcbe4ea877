"""Words that other floors of the house say in English, and pages show: marked here, for whoever
says them does not know that people of other languages read them."""

import re

from identity.pages.words import _

SAID = (
    # What scopes let an application do (`directory.access.granting`).
    _("Know who you are"),
    _("See your name and other details of your profile"),
    _("See your e-mail address"),
    _("See your telephone number"),
    _("See your postal address"),
    _("Keep access while you are away"),
    _("See which roles you have"),
    _("See users and their sessions"),
    _("Create, change, disable and delete users"),
    _("See clients"),
    _("Register, change and delete clients"),
    _("See roles and scopes"),
    _("Create, change and delete roles and scopes"),
    _("See signing keys"),
    _("Rotate and revoke signing keys"),
    _("Read the audit trail and the statistics"),
    _("Introspect every token, and follow revocations"),
    _("Change one's own account: name, e-mail address, password, sessions"),
    _("Stop every sign-in and whatever is issued, and lift that; sign in meanwhile"),
    _("See which mails wait to be sent"),
    _("Send mails again, and test ones"),
    _("See what the pages look like"),
    _("Change the name, the logo and the colours of the pages"),
    # What the role that comes with the service is.
    _("Holds every built-in scope"),
    # What may not become a password (`authentication.passwords`).
    _("The password must have at least %(num)s characters."),
    _("The password must not be longer than %(num)s characters."),
    _("The password must not contain the NUL character."),
    _("The password is not valid Unicode text."),
    _("The password has more than %(num)s combining marks in a row."),
    _("The password is among the most common ones; choose another."),
    _(
        "The password is a common word with digits, signs or look-alikes of letters; choose "
        "another, for instance some words that have nothing to do with each other."
    ),
    _("The password is made of words of this service; choose another."),
    _("The password must not be the username or the e-mail address, whatever is added to it."),
    _("The password repeats or counts up what it is made of; choose another."),
    _("The new password is the current one."),
    # What goes wrong (`errors`).
    _("Bad request"),
    _("Not allowed"),
    _("Not found"),
    _("Method not allowed"),
    _("Invalid input"),
    _("Conflict"),
    _("Unsupported media type"),
    _("The request body is too large"),
    _("Something went wrong on our side"),
    _("Try again later"),
    _("The service is busy"),
    _("The database cannot be reached"),
    _("Too many failed attempts"),
    # Why a request of an application's leads nowhere (`oauth.authorize`, `oauth.logout`).
    _("this client is not known here"),
    _("an administrator has disabled this client"),
    _("the client's document cannot be read"),
    _("redirect_uri is missing, and the client has not exactly one"),
    _("redirect_uri is not registered for this client"),
    _("redirect_uri is none that codes may be sent to"),
    _("request and request_uri exclude each other"),
    _("this request has expired, or was never made: go back to the application"),
    _("This request has been answered already: go back to the application and begin again."),
    _("the request is too long for an address"),
    _("the request is too long to wait for a person"),
    _("a parameter is repeated"),
    _("id_token_hint is no ID token of this service"),
    _("id_token_hint is another client's"),
    _("post_logout_redirect_uri came without a client that is known"),
    _("post_logout_redirect_uri is not registered for this client"),
    # What is not there.
    _("no such user"),
    _("no such role"),
    _("no such scope"),
    _("no such client"),
    _("the client has no such secret"),
    _("no such issuer"),
    _("no such mail"),
    _("no such session"),
    _("there is no such session"),
    _("there is no such key"),
)
_NUMBER = re.compile(r"\d+")


def words(text: str) -> str:
    """Marked, whichever number stands in it."""
    number = _NUMBER.search(text)
    if number is None:
        return _(text)
    pattern = _NUMBER.sub("%(num)s", text, count=1)
    return _(pattern) % {"num": number[0]} if pattern in SAID else _(text)
