"""Users from other systems, with the password hashes that those made."""
