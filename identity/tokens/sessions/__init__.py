"""Login sessions and their refresh tokens."""
