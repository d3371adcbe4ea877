"""The fixtures that siblings get as a pytest plugin, whether or not this project is installed."""

from identity.testing import _identity_template, identity_service
from identity.verifier.testing import issuer

__all__ = ["_identity_template", "identity_service", "issuer"]
