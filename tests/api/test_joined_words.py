"""What the hot addresses say of themselves, joined with FastAPI's document."""

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from identity.api import openapi
from identity.http.describing import body


def test_two_models_of_one_name_are_a_mistake() -> None:
    def words(model: type[BaseModel]) -> dict[str, Any]:
        return {"operationId": model.__doc__, "responses": {"200": {"content": body(model)}}}

    first, second = (type("Answer", (BaseModel,), {"__doc__": name}) for name in ("a", "b"))
    app = FastAPI()
    openapi.publish(
        app, lambda: [("GET", "/a", words(first)), ("GET", "/b", words(second))], [], ""
    )
    with pytest.raises(ValueError, match="Answer"):
        app.openapi()
