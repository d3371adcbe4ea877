"""Users from other systems, with the password hashes that those made."""

from typing import Final

IMPORT_LIMIT: Final = 64 * 1024 * 1024
"""Octets of a file that comes over HTTP; a larger one is for the command line."""
