"""Who gets in: users with their tokens and passwords, join tokens, and how a machine becomes a device."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from fedops.core.contracts.base import Finite, Name, Reply, Report, Request, Said, ShortText
from fedops.core.states import Enrolment, Role


def _in_one_form(text: str) -> str:
    return str(ip_network(text, strict=False))


#: A range of IP addresses (CIDR), or one of them.
Network = Annotated[str, Field(max_length=49), AfterValidator(_in_one_form)]


class TokenCreate(Request):
    """A join token: whoever holds it may enrol a device."""

    #: At most a hundred years: a calendar must be able to show when that is.
    expires_in_seconds: Finite = Field(default=900.0, gt=0, le=3_153_600_000)
    uses: int = Field(default=1, ge=1, le=1_000_000)
    note: str = Field(default="", max_length=200)
    #: The only task that the devices may take part in.
    task: Name | None = None
    #: Where they may join from, such as ``10.4.0.0/16``.
    network: Network | None = None


class TokenRead(Reply):
    id: int
    kind: Literal["join"]
    note: str
    created_at: float
    expires_at: float | None
    uses_left: int | None
    revoked: bool
    task: str | None = None
    network: str | None = None
    #: The secret itself: only in the answer to the request that made it.
    token: str | None = None


class DeviceInfo(Report):
    """What a device says about itself. Shown to operators, trusted for nothing."""

    hostname: Said = Field(default="", max_length=255)
    platform: Said = Field(default="", max_length=255)
    python: Said = Field(default="", max_length=64)
    fedops: Said = Field(default="", max_length=64)
    cpus: int = Field(default=0, ge=0)
    memory_bytes: int = Field(default=0, ge=0)
    gpu: Said = Field(default="", max_length=255)
    #: Versions of the libraries that may change a number.
    libraries: dict[ShortText, ShortText] = Field(default_factory=dict, max_length=100)


class JoinRequest(Report):
    """Enrolment: who holds a valid join token hands in the device's public key (OpenSSH).

    ``proof``: base64 of the key's signature (ECDSA, SHA-256) over ``core.join_statement``, so that nobody
    joins as a device of which they know the public key only.
    """

    token: str = Field(max_length=200)
    name: Name
    public_key: str = Field(max_length=2_000)
    proof: str = Field(max_length=500)
    info: DeviceInfo = DeviceInfo()


class JoinReply(Reply):
    device_id: str
    name: str
    device_token: str
    enrolment: Enrolment


class CredentialReply(Reply):
    """A new credential of a device. It ends unless the device confirms, with it, that it was kept."""

    token: str
    confirm_within_seconds: float


class TlsUpgrade(Report):
    """A device that joined over plain HTTP asks how to go on with TLS. It does not send its token."""

    device_id: str = Field(max_length=64)
    #: Chosen by the device, so that an answer of earlier is worth nothing.
    nonce: str = Field(min_length=16, max_length=64)


class TlsUpgradeReply(Reply):
    """The server's https:// URL, the authorities to pin, and ``upgrade_proof`` of both."""

    url: str
    #: PEM. "": the device is to trust whom its system trusts.
    authorities: str
    proof: str


# --- users ------------------------------------------------------------------------------------

#: Shorter ones can be guessed.
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 200
Password = Annotated[str, Field(min_length=SHORTEST_PASSWORD, max_length=LONGEST_PASSWORD)]
#: What somebody types, right or wrong.
Typed = Annotated[str, Field(max_length=LONGEST_PASSWORD)]
TaskNames = Annotated[list[Name], Field(min_length=1, max_length=256)]
#: At most a hundred years: a calendar must be able to show when that is.
Lifetime = Annotated[Finite, Field(gt=0, le=3_153_600_000)]


class UserCreate(Request):
    """``tasks``: the only ones that an operator or a viewer gets to see; None: all."""

    name: Name
    role: Role
    tasks: TaskNames | None = None
    password: Password | None = Field(default=None, repr=False)


class UserUpdate(Request):
    """What is None stays. ``all_tasks`` takes a limit to named tasks away."""

    role: Role | None = None
    tasks: TaskNames | None = None
    all_tasks: bool = False
    disabled: bool | None = None


class UserRead(Reply):
    name: str
    role: Role
    #: None: all of them.
    tasks: list[str] | None
    has_password: bool
    disabled: bool
    created_at: float


class PasswordSet(Request):
    password: Password = Field(repr=False)


class PasswordChange(PasswordSet):
    """``current``: what it was; not needed when there was none."""

    current: Typed = Field(default="", repr=False)


class PersonalTokenCreate(Request):
    """A token that shows who a user is. ``role``, ``tasks``: less than the user's own."""

    note: str = Field(default="", max_length=200)
    role: Role | None = None
    tasks: TaskNames | None = None
    expires_in_seconds: Lifetime | None = None


class PersonalTokenRead(Reply):
    """``session``: of a browser that is signed in."""

    id: int
    user: str
    kind: Literal["personal", "session"]
    note: str
    role: Role | None
    tasks: list[str] | None
    created_at: float
    expires_at: float | None
    revoked: bool
    #: The secret itself: only in the answer to the request that made it.
    token: str | None = None


class SignIn(Request):
    """A name and a password, for a personal token."""

    user: Name
    password: Typed = Field(repr=False)
    note: str = Field(default="", max_length=200)
    expires_in_seconds: Lifetime = 30 * 86_400.0


class SignInCode(Reply):
    """Opens one session of a browser, once, as whoever asked for it."""

    code: str
    expires_at: float


class WhoAmI(Reply):
    """A user, and what the token used lets them do."""

    user: str
    #: Each of these is asked: the user's, and the token's if it has one of its own.
    roles: list[Role]
    #: None: all of them.
    tasks: list[str] | None
    token_id: int
    expires_at: float | None
