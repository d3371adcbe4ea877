"""`python -m identity` is the `identity` command."""

from identity.cli import main

if __name__ == "__main__":
    main()
