"""fastapi-users as its documentation sets it up: async SQLAlchemy on SQLite, a JWT strategy."""

import os
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

KEY = secrets.token_hex(32)
engine = create_async_engine(os.environ["DATABASE_URL"].replace("sqlite:", "sqlite+aiosqlite:"))
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = KEY


async def session() -> AsyncIterator[AsyncSession]:
    async with sessions() as opened:
        yield opened


async def manager(opened: Annotated[AsyncSession, Depends(session)]) -> AsyncIterator[Manager]:
    yield Manager(SQLAlchemyUserDatabase(opened, User))


def strategy() -> JWTStrategy[Any, Any]:
    return JWTStrategy(secret=KEY, lifetime_seconds=900)


backend = AuthenticationBackend(
    name="jwt", transport=BearerTransport(tokenUrl="auth/login"), get_strategy=strategy
)
users = FastAPIUsers[User, uuid.UUID](manager, [backend])


class Shown(schemas.BaseUser[uuid.UUID]):
    pass


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    async with sessions() as opened:
        made = Manager(SQLAlchemyUserDatabase(opened, User))
        email = f"{os.environ['USERNAME']}@example.org"
        await made.create(schemas.BaseUserCreate(email=email, password=os.environ["PASSWORD"]))
    yield


app = FastAPI(lifespan=lifespan)
app.include_router(users.get_auth_router(backend), prefix="/auth")
app.include_router(users.get_users_router(Shown, schemas.BaseUserUpdate), prefix="/users")
