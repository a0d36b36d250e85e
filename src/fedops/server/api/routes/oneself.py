"""Who one is, one's own tokens and password, and how one gets in."""

from __future__ import annotations

from fastapi import Request

from fedops.core.contracts import (
    PasswordChange,
    PersonalTokenCreate,
    PersonalTokenRead,
    SignIn,
    SignInCode,
    UserRead,
    WhoAmI,
)
from fedops.server.access import sign_in, user_tokens, users
from fedops.server.access.admin_token import follow_rotation
from fedops.server.api.http.authentication import PERSON, Server, Who, address_of
from fedops.server.api.http.routers import api_router
from fedops.server.api.routes.users import TokenId

router = api_router("oneself", PERSON)
signing_in = api_router("oneself")


@signing_in.post("/sign-in", status_code=201)
async def sign_in_by_password(body: SignIn, request: Request, server: Server) -> PersonalTokenRead:
    """A personal token for a name and a password. It ends when the password changes."""
    address = address_of(request)
    then = sign_in.token_by_password(body, address)
    return await server.sign_in.by_password(body.user, body.password, address, then)


@router.get("/whoami")
def who_am_i(who: Who) -> WhoAmI:
    """The user whose token this is, and what it lets them do."""
    return WhoAmI(
        user=who.user or "",
        roles=list(who.roles),
        tasks=None if who.tasks is None else sorted(who.tasks),
        token_id=who.token_id,
        expires_at=who.expires_at,
    )


@router.post("/whoami/password")
async def change_password(
    body: PasswordChange, request: Request, server: Server, who: Who
) -> UserRead:
    """Change one's own password. One's browsers are signed out."""
    name, passwords = who.user or "", server.sign_in.passwords
    hashed = await passwords.hash(body.password)
    return await server.sign_in.by_password(
        name,
        body.current,
        address_of(request),
        lambda session, user, now: users.set_password(session, user.name, hashed, now),
    )


@router.get("/whoami/tokens")
def list_own_tokens(server: Server, who: Who) -> list[PersonalTokenRead]:
    """One's own tokens and open sessions, newest first, without their secrets."""
    with server.db.read() as session:
        row = users.require_user(session, who.user or "")
        return user_tokens.list_of(session, row, server.clock())


@router.post("/whoami/tokens", status_code=201)
def create_own_token(body: PersonalTokenCreate, server: Server, who: Who) -> PersonalTokenRead:
    """Make a token for oneself. Its secret is in this answer and nowhere else."""
    with server.db.write() as session:
        return user_tokens.create_own(session, who, body, server.clock())


@router.post("/whoami/tokens/rotate")
def rotate_token(server: Server, who: Who) -> PersonalTokenRead:
    """Another token in place of the one used, which is worth nothing from then on."""
    with server.db.write() as session:
        former, made = user_tokens.rotate(session, who, server.clock())
        follow_rotation(server.settings.admin_token_file, former, made.token or "")
        return made


@router.post("/whoami/tokens/{token_id}/revoke")
def revoke_own_token(token_id: TokenId, server: Server, who: Who) -> PersonalTokenRead:
    """Make a token of one's own worthless, with the sessions that it opened."""
    with server.db.write() as session:
        return user_tokens.revoke_own(session, who, token_id, server.clock())


@router.post("/whoami/sign-in-code", status_code=201)
def create_sign_in_code(server: Server, who: Who) -> SignInCode:
    """A code that signs one browser in, once, within two minutes."""
    with server.db.write() as session:
        return sign_in.issue_code(session, who, server.clock())
