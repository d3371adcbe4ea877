"""The server that FastAPI's tutorial leads to, with a database: sync sessions, passlib, HS256."""

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from passlib.context import CryptContext
from sqlmodel import Field, Session, SQLModel, create_engine, select

KEY = secrets.token_hex(32)
passwords = CryptContext(schemes=["bcrypt"])
engine = create_engine(os.environ["DATABASE_URL"], connect_args={"check_same_thread": False})


class Account(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    username: str = Field(unique=True)
    hashed: str


class Token(SQLModel):
    access_token: str
    token_type: str


class Me(SQLModel):
    username: str


SQLModel.metadata.create_all(engine)
with Session(engine) as first:
    hashed = passwords.hash(os.environ["PASSWORD"])
    first.add(Account(username=os.environ["USERNAME"], hashed=hashed))
    first.commit()

app = FastAPI()
scheme = OAuth2PasswordBearer(tokenUrl="token")


def session() -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


Opened = Annotated[Session, Depends(session)]


def current(token: Annotated[str, Depends(scheme)], database: Opened) -> Account:
    try:
        username = jwt.decode(token, KEY, algorithms=["HS256"])["sub"]
    except JWTError:
        raise HTTPException(401) from None
    account = database.exec(select(Account).where(Account.username == username)).first()
    if account is None:
        raise HTTPException(401)
    return account


@app.post("/token")
def token(form: Annotated[OAuth2PasswordRequestForm, Depends()], database: Opened) -> Token:
    account = database.exec(select(Account).where(Account.username == form.username)).first()
    if account is None or not passwords.verify(form.password, account.hashed):
        raise HTTPException(400)
    claims = {"sub": account.username, "exp": datetime.now(UTC) + timedelta(minutes=15)}
    return Token(access_token=jwt.encode(claims, KEY, algorithm="HS256"), token_type="bearer")


@app.get("/users/me")
def me(account: Annotated[Account, Depends(current)]) -> Me:
    return Me(username=account.username)
