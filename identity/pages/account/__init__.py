"""Pages for people about their own account."""
