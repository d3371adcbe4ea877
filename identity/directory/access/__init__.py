"""Scopes and roles: what may be granted to whom."""
