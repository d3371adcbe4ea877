"""Passkeys (WebAuthn 3): a key in somebody's device that proves them to this domain alone.

Every one is discoverable and verifies its user, by a PIN or a finger, each time: it is two factors
by itself, and phishing does not get at it.
"""
