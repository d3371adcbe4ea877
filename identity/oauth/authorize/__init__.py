"""`/authorize`: a person at a browser lets a client act (RFC 6749 §4.1, OpenID Connect Core §3)."""
