"""A sibling service, written as FastAPI's tutorial on OAuth2 writes one, but for where tokens come
from and whose keys they are verified with.

Run as `uvicorn tests.siblings.orders:app`. FastAPIOffline is FastAPI whose /docs loads its scripts
from itself.
"""

import os
from typing import Annotated, Any

import httpx
import jwt
from fastapi import Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from fastapi_offline import FastAPIOffline
from jwt.exceptions import PyJWTError
from pydantic import BaseModel

IDENTITY = os.environ["ORDERS_IDENTITY"]
CLIENT = (os.environ["ORDERS_CLIENT_ID"], os.environ["ORDERS_CLIENT_SECRET"])

oauth2_scheme = OAuth2PasswordBearer(tokenUrl=f"{IDENTITY}/token")
keys = jwt.PyJWKClient(f"{IDENTITY}/.well-known/jwks.json")

app = FastAPIOffline(title="Orders")


class User(BaseModel):
    username: str
    roles: list[str]


credentials_exception = HTTPException(
    status_code=status.HTTP_401_UNAUTHORIZED,
    detail="Could not validate credentials",
    headers={"WWW-Authenticate": "Bearer"},
)


def get_current_user(token: Annotated[str, Depends(oauth2_scheme)]) -> User:
    try:
        payload: dict[str, Any] = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token).key,
            algorithms=["ES256"],
            audience=IDENTITY,
            issuer=IDENTITY,
        )
    except PyJWTError:
        raise credentials_exception from None
    return User(username=payload["username"], roles=payload["roles"])


async def ask_about(token: Annotated[str, Depends(oauth2_scheme)]) -> dict[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{IDENTITY}/introspect", data={"token": token}, auth=CLIENT)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    if not found["active"]:
        raise credentials_exception
    return found


@app.get("/users/me")
async def read_users_me(current_user: Annotated[User, Depends(get_current_user)]) -> User:
    """Verified with the published keys: no question asked."""
    return current_user


@app.get("/orders")
async def read_orders(found: Annotated[dict[str, Any], Depends(ask_about)]) -> list[str]:
    """Introspected, so that a revoked token is refused at once."""
    return [f"an order of {found['username']}"]
