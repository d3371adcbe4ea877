"""Verifying the issuer's access tokens. Imports nothing else of `identity` and installs alone."""

from identity.verifier.gate import Check, Gate, Refused, VerificationKey, VerifiedClaims

__all__ = ["Check", "Gate", "Refused", "VerificationKey", "VerifiedClaims"]
