"""What one may do with users, with one's own tokens, and with the channels that tell people what happens."""

from __future__ import annotations

from fedops.api_client.transport import Client
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorUsers(Client):
    """Oneself; and users, for admins."""

    def whoami(self) -> c.WhoAmI:
        """The user whose token this is, and what it lets them do.

        >>> operator.whoami().user
        'admin'
        """
        return self._call(c.WhoAmI, "GET", "/whoami")

    def users(self) -> list[c.UserRead]:
        """All users, by name.

        >>> [user.role.value for user in operator.users() if user.name == "admin"]
        ['admin']
        """
        return self._list(c.UserRead, "/users")

    def user(self, user: str) -> c.UserRead:
        """One user by name. ``NotFound`` when there is none.

        >>> operator.user("admin").disabled
        False
        """
        return self._call(c.UserRead, "GET", f"/users/{require_name(user)}")

    def add_user(self, body: c.UserCreate) -> c.UserRead:
        """A new user, who needs a token or a password to get in. ``Conflict`` when the name was ever taken.

        >>> operator.add_user(c.UserCreate(name="anna", role="operator", tasks=["mnist"])).tasks
        ['mnist']
        """
        return self._call(c.UserRead, "POST", "/users", body)

    def update_user(self, user: str, body: c.UserUpdate) -> c.UserRead:
        """A user whose role, tasks or leave to get in is another, from their next call on.

        ``NotFound`` when there is none, ``Conflict`` when no admin would be left.

        >>> operator.add_user(c.UserCreate(name="anna", role="viewer")).disabled
        False
        >>> operator.update_user("anna", c.UserUpdate(disabled=True)).disabled
        True
        """
        return self._call(c.UserRead, "PATCH", f"/users/{require_name(user)}", body)

    def set_password(self, user: str, body: c.PasswordSet) -> c.UserRead:
        """A user whose password is another; their browsers are signed out. ``NotFound``: there is none.

        >>> operator.set_password("admin", c.PasswordSet(password="a long sentence")).has_password
        True
        """
        return self._call(c.UserRead, "POST", f"/users/{require_name(user)}/password", body)

    def change_password(self, body: c.PasswordChange) -> c.UserRead:
        """Oneself with another password. ``Forbidden`` when the current one is not right.

        >>> first = operator.set_password("admin", c.PasswordSet(password="a long sentence"))
        >>> body = c.PasswordChange(current="a long sentence", password="a longer sentence")
        >>> operator.change_password(body).name
        'admin'
        """
        return self._call(c.UserRead, "POST", "/whoami/password", body)

    def remove_user(self, user: str) -> c.UserRead:
        """The user as they were. ``NotFound`` when there is none, ``Conflict`` when no admin would be left.

        >>> operator.add_user(c.UserCreate(name="anna", role="viewer")).name
        'anna'
        >>> operator.remove_user("anna").name
        'anna'
        """
        return self._call(c.UserRead, "POST", f"/users/{require_name(user)}/remove")

    def user_tokens(self, user: str | None = None) -> list[c.PersonalTokenRead]:
        """A user's tokens and open sessions, or one's own, newest first. ``NotFound``: there is no such user.

        >>> operator.user_tokens()[0].user
        'admin'
        """
        return self._list(c.PersonalTokenRead, f"{_place(user)}/tokens")

    def create_user_token(
        self, body: c.PersonalTokenCreate, user: str | None = None
    ) -> c.PersonalTokenRead:
        """A token for a user, or for oneself; only this answer holds its secret, as ``token``.

        ``Forbidden`` when it would let its holder do more than the user, or than the token used.

        >>> body = c.PersonalTokenCreate(note="CI", role="viewer", tasks=["mnist"])
        >>> operator.create_user_token(body).tasks
        ['mnist']
        """
        return self._call(c.PersonalTokenRead, "POST", f"{_place(user)}/tokens", body)

    def revoke_user_token(self, token_id: int, user: str | None = None) -> c.PersonalTokenRead:
        """A user's token, or one's own, worthless from now on. ``NotFound`` when there is none.

        >>> made = operator.create_user_token(c.PersonalTokenCreate(note="CI"))
        >>> operator.revoke_user_token(made.id).revoked
        True
        """
        return self._call(c.PersonalTokenRead, "POST", f"{_place(user)}/tokens/{token_id}/revoke")

    def rotate_token(self) -> c.PersonalTokenRead:
        """Another token in place of this client's own, which is worth nothing from now on.

        >>> made = operator.create_user_token(c.PersonalTokenCreate(note="CI"))
        >>> from fedops.api_client import OperatorClient
        >>> with OperatorClient(url, token=made.token) as client:
        ...     client.rotate_token().note
        'CI'
        """
        return self._call(c.PersonalTokenRead, "POST", "/whoami/tokens/rotate")

    def sign_in_code(self) -> c.SignInCode:
        """A code that signs one browser in as oneself, once, within two minutes.

        >>> operator.sign_in_code().code.startswith("fo_code_")
        True
        """
        return self._call(c.SignInCode, "POST", "/whoami/sign-in-code")


class OperatorNotifications(Client):
    """Who is told of what happens. An admin changes it."""

    def channels(self) -> list[c.ChannelRead]:
        """The notification channels, by name, without their secrets.

        >>> operator.channels()
        []
        """
        return self._list(c.ChannelRead, "/notifications")

    def channel(self, name: str) -> c.ChannelRead:
        """One channel, with its last delivery. ``NotFound`` when there is none.

        >>> body = c.ChannelCreate(name="ops", kind="webhook", url="https://example.org/hook")
        >>> operator.add_channel(body).address
        'https://example.org/hook'
        >>> operator.channel("ops").last_at is None
        True
        """
        return self._call(c.ChannelRead, "GET", f"/notifications/{require_name(name)}")

    def add_channel(self, body: c.ChannelCreate) -> c.ChannelRead:
        """A new channel. ``Conflict``: there is one of this name. ``Invalid``: it cannot be like this.

        >>> body = c.ChannelCreate(
        ...     name="chat", kind="slack", secret="https://hooks.example.org/T0/abcd", rules=["run_failed"]
        ... )
        >>> operator.add_channel(body).address
        'hooks.example.org, …abcd'
        """
        return self._call(c.ChannelRead, "POST", "/notifications", body)

    def change_channel(self, name: str, body: c.ChannelUpdate) -> c.ChannelRead:
        """A channel with what is given changed. ``NotFound`` when there is none.

        >>> body = c.ChannelCreate(name="ops", kind="webhook", url="https://example.org/hook")
        >>> operator.add_channel(body).enabled
        True
        >>> operator.change_channel("ops", c.ChannelUpdate(enabled=False)).enabled
        False
        """
        return self._call(c.ChannelRead, "PATCH", f"/notifications/{require_name(name)}", body)

    def remove_channel(self, name: str) -> c.ChannelRead:
        """The channel as it was, gone with its messages. ``NotFound`` when there is none.

        >>> body = c.ChannelCreate(name="ops", kind="webhook", url="https://example.org/hook")
        >>> operator.add_channel(body).name
        'ops'
        >>> operator.remove_channel("ops").name
        'ops'
        """
        return self._call(c.ChannelRead, "DELETE", f"/notifications/{require_name(name)}")

    def test_channel(self, name: str) -> c.NotificationRead:
        """A test message that waits to be sent. ``NotFound`` when there is no such channel.

        >>> body = c.ChannelCreate(name="ops", kind="webhook", url="https://example.org/hook")
        >>> operator.add_channel(body).waiting
        0
        >>> operator.test_channel("ops").status.value
        'waiting'
        """
        return self._call(c.NotificationRead, "POST", f"/notifications/{require_name(name)}/test")

    def notifications(self, name: str, limit: int = 50) -> list[c.NotificationRead]:
        """The newest messages of a channel, newest first. ``NotFound`` when there is no such channel.

        >>> body = c.ChannelCreate(name="nobody", kind="webhook", url="https://example.org/hook")
        >>> operator.add_channel(body).name
        'nobody'
        >>> operator.notifications("nobody")
        []
        """
        where = f"/notifications/{require_name(name)}/messages"
        return self._list(c.NotificationRead, where, limit=limit)


def _place(user: str | None) -> str:
    return "/whoami" if user is None else f"/users/{require_name(user)}"


class SignInClient(Client):
    """For whoever has no token yet."""

    def require_plain_http(self) -> None:
        """See that a server with an ``http://`` URL speaks that. Nothing secret is sent."""
        self._require_plain_http()

    def sign_in(self, body: c.SignIn) -> c.PersonalTokenRead:
        """A personal token, as ``token``. ``Forbidden`` when name and password are not right."""
        self._require_plain_http()
        return self._call(c.PersonalTokenRead, "POST", "/sign-in", body)
