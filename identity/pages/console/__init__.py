"""For administrators: everything that the API does, by the same functions (decision 63)."""
