"""What administrators do, whole: each act with all that follows from it, for whichever face asks.

`directory` changes a noun; here its sessions end along, its password is hashed, its key is made.
Functions of a `Session` are part of the caller's unit of work. `held` is what whoever acts may hand
out; `if_match` the entity tag of what they saw, None where they do not care (RFC 9110 §13.1.1).
"""
