"""Verifying the issuer's access tokens. Imports nothing else of `identity` and installs alone."""
