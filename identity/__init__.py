"""Identity: authentication and authorization for a family of services."""

__version__ = "0.1.0"
