"""The process or processes behind the port."""

from identity.http.server.server import serve

__all__ = ["serve"]
