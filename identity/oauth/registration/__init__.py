"""Programs that register themselves as clients (RFC 7591, RFC 7592)."""
