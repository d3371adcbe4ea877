"""Members of a user's profile as bodies have them; what each may hold, `users.profile` decides."""

from typing import Annotated, Any

from pydantic import Field

from identity.api.bodies import Body, Line, Text
from identity.api.merge_patch import omitted
from identity.directory.users.profile import ADDRESS, LONGEST_PART, MOST_ATTRIBUTES

Part = Annotated[Text, Field(max_length=LONGEST_PART)] | None


class Address(Body):
    """A postal address (OpenID Connect Core §5.1.1)."""

    formatted: Part = Field(default=None, description="All of it, as it is written on a letter.")
    street_address: Part = None
    locality: Part = None
    region: Part = None
    postal_code: Part = None
    country: Part = None


assert tuple(Address.model_fields) == ADDRESS


class OwnProfile(Body):
    """What users may write themselves. Null, or an empty text: not known."""

    given_name: Line | None = Field(default=None, examples=["Ada"])
    family_name: Line | None = Field(default=None, examples=["Lovelace"])
    locale: Line | None = Field(default=None, description="BCP 47.", examples=["en-GB"])
    zoneinfo: Line | None = Field(
        default=None, description="A time zone of the IANA database.", examples=["Europe/London"]
    )
    picture: Annotated[Text, Field(max_length=2000)] | None = Field(
        default=None, description="Its `https` address.", examples=["https://example.com/ada.png"]
    )
    phone_number: Line | None = Field(
        default=None, description="International; kept as E.164.", examples=["+442079460000"]
    )
    address: Address | None = None


class Profile(OwnProfile):
    phone_number_verified: bool = Field(default_factory=omitted)
    attributes: dict[str, Any] | None = Field(
        default=None,
        description=f"At most {MOST_ATTRIBUTES} things of your own: texts, numbers, truths, and "
        "lists of texts. Clients are told those that their `claims` map.",
        examples=[{"department": "Analysis"}],
    )
