"""Orders: a sibling service. It verifies the tokens that it is sent by itself, and knows of a
revocation within a second.

ISSUER=http://127.0.0.1:8000 CLIENT_ID=orders CLIENT_SECRET=… uvicorn orders:app --port 8001
"""

import os
from typing import Annotated

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from identity.verifier import FromProxies
from identity.verifier.fastapi import Identity, VerifiedToken

PROXIES = os.environ.get("CERTIFICATE_PROXIES", "").split()
identity = Identity(
    os.environ.get("ISSUER", "http://127.0.0.1:8000"),
    os.environ.get("AUDIENCE", "https://orders.example.com"),
    client_id=os.environ.get("CLIENT_ID"),  # without one it reads status lists, not the stream
    client_secret=os.environ.get("CLIENT_SECRET"),
    certificates=FromProxies(*PROXIES) if PROXIES else None,  # who may say Client-Cert
    scopes={"orders:read": "See orders", "orders:write": "Place orders"},
    name="Orders",
)
app = FastAPI(title="Orders", lifespan=identity.lifespan)
identity.install(app)

Reader = Annotated[VerifiedToken, identity.require("orders:read")]
Writer = Annotated[VerifiedToken, identity.require("orders:write")]


class Order(BaseModel):
    item: str = Field(min_length=1, max_length=100)
    pieces: int = Field(default=1, ge=1)


orders: dict[str, list[Order]] = {}
"""By the `sub` of whose they are: a username may pass to somebody else, a subject never does."""


def owner(token: VerifiedToken) -> str:
    """A user. A client that acts for itself has no orders, whatever it is called."""
    if token.is_client:
        raise HTTPException(403, "orders are people's")
    return token.subject


@app.get("/orders")
async def read_orders(token: Reader) -> list[Order]:
    """Your own orders."""
    return orders.get(owner(token), [])


@app.post("/orders", status_code=201)
async def place_order(order: Order, token: Writer) -> Order:
    """Place an order."""
    orders.setdefault(owner(token), []).append(order)
    return order
