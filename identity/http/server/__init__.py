"""The process or processes behind the port."""

from identity.http.server import without_command

without_command.leave_out()  # before anything of uvicorn is imported
from identity.http.server.server import serve  # noqa: E402

__all__ = ["serve"]
