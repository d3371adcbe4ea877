"""`GET /revocations`: what has been revoked, told to siblings that verify tokens themselves."""
