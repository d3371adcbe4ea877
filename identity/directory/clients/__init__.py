"""Clients: the programs that ask for tokens, and how they prove who they are (RFC 6749 §2)."""
