"""Users as admins keep them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from fedops.core.contracts import (
    PasswordSet,
    PersonalTokenCreate,
    PersonalTokenRead,
    UserCreate,
    UserRead,
    UserUpdate,
)
from fedops.server.access import user_tokens, users
from fedops.server.api.http.authentication import MAX_ID, PERSON, Named, Server
from fedops.server.api.http.routers import api_router

router = api_router("users", PERSON)
TokenId = Annotated[int, Path(ge=1, le=MAX_ID)]


@router.get("/users")
def list_users(server: Server) -> list[UserRead]:
    """All users, by name."""
    with server.db.read() as session:
        return users.list_users(session)


@router.post("/users", status_code=201)
async def add_user(body: UserCreate, server: Server) -> UserRead:
    """Add a user. Without a password they need a token."""
    hashed = await server.sign_in.passwords.hash(body.password) if body.password else None
    return await server.change(lambda s: users.add_user(s, body, hashed, server.clock()))


@router.get("/users/{user}")
def get_user(user: Named, server: Server) -> UserRead:
    """One user."""
    with server.db.read() as session:
        return users.user_read(users.require_user(session, user))


@router.patch("/users/{user}")
def update_user(user: Named, body: UserUpdate, server: Server) -> UserRead:
    """Change a user's role or tasks, disable or enable them."""
    with server.db.write() as session:
        return users.update_user(session, user, body, server.clock())


@router.post("/users/{user}/password")
async def set_password(user: Named, body: PasswordSet, server: Server) -> UserRead:
    """Set a user's password. Their browsers are signed out."""
    hashed = await server.sign_in.passwords.hash(body.password)
    return await server.change(lambda s: users.set_password(s, user, hashed, server.clock()))


@router.post("/users/{user}/remove")
def remove_user(user: Named, server: Server) -> UserRead:
    """Take a user out for good. Their name is not given again."""
    with server.db.write() as session:
        return users.remove_user(session, user, server.clock())


@router.get("/users/{user}/tokens")
def list_user_tokens(user: Named, server: Server) -> list[PersonalTokenRead]:
    """A user's tokens and open sessions, newest first, without their secrets."""
    with server.db.read() as session:
        return user_tokens.list_of(session, users.require_user(session, user), server.clock())


@router.post("/users/{user}/tokens", status_code=201)
def create_user_token(user: Named, body: PersonalTokenCreate, server: Server) -> PersonalTokenRead:
    """Make a token for a user. Its secret is in this answer and nowhere else."""
    with server.db.write() as session:
        row = users.require_user(session, user)
        return user_tokens.create_for(session, row, body, server.clock())


@router.post("/users/{user}/tokens/{token_id}/revoke")
def revoke_user_token(user: Named, token_id: TokenId, server: Server) -> PersonalTokenRead:
    """Make a user's token worthless, with the sessions that it opened."""
    with server.db.write() as session:
        row = users.require_user(session, user)
        return user_tokens.revoke_of(session, row, token_id, server.clock())
