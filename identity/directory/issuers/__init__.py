"""Issuers elsewhere whose word counts here: for which program it is that asks, or for whom."""
