"""`POST /token`: the registry of grants, and one file a grant."""
