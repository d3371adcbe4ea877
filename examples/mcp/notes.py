"""An MCP server whose users sign in at Identity. It has registered nothing and holds no secret:
from its answer 401 every MCP client finds the way by itself.

    ISSUER=https://identity.example ADDRESS=https://notes.example/mcp uvicorn notes:app
"""

import os

from mcp.server.mcpserver import Context, MCPServer

from identity.verifier import VerifiedToken, Verifier
from identity.verifier.asgi import IdentityMiddleware

ISSUER = os.environ.get("ISSUER", "http://127.0.0.1:8000")
ADDRESS = os.environ.get("ADDRESS", "http://127.0.0.1:9100/mcp")
"""Its own: the resource that its tokens are for."""

notes = MCPServer("Notes")


@notes.tool()
def whoami(context: Context) -> str:
    """Whose notes these are."""
    token: VerifiedToken = context.request_context.request.scope["token"]
    return f"These are the notes of {token.username}."


verifier = Verifier(ISSUER, ADDRESS, scopes=["notes:read"])
app = IdentityMiddleware(notes.streamable_http_app(), verifier)
