"""Passwords: what may be one, how they are stored, and the threads that hash them."""
