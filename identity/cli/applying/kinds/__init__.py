"""What files can describe, a kind a file: a scope, a role, a trusted issuer, a client."""
