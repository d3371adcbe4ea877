"""examples/orders as it stands; its page loads Swagger UI from itself and not from a CDN.

Run as `uvicorn tests.siblings.example:app`.
"""

import sys
from functools import partial
from pathlib import Path

import fastapi.applications
import fastapi_offline
from fastapi.staticfiles import StaticFiles

from tests.databases import ROOT

STATIC = Path(fastapi_offline.__file__).parent / "static"

fastapi.applications.get_swagger_ui_html = partial(
    fastapi.applications.get_swagger_ui_html,
    swagger_js_url="/static/swagger-ui-bundle.js",
    swagger_css_url="/static/swagger-ui.css",
    swagger_favicon_url="/static/favicon.png",
)
sys.path.insert(0, str(ROOT / "examples" / "orders"))

from orders import app  # noqa: E402

app.mount("/static", StaticFiles(directory=STATIC))
