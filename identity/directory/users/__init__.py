"""Users: who they are, and what an administrator may do to them."""
