"""Devices that ask for access without a browser of their own (RFC 8628)."""
