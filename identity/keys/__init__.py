"""Signing keys: where they lie, how they follow one another, who signs with them."""
