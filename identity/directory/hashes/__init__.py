"""What a stored password hash is: of which scheme, how dear, whose software's. Making and comparing
them is `authentication.passwords`'."""
