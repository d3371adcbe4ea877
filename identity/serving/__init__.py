"""The process or processes behind the port."""

from identity.serving.server import serve

__all__ = ["serve"]
