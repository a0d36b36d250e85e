"""``fedops user``: who may use the server, and their tokens."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from fedops.cli import options
from fedops.cli.access.tokens import seconds
from fedops.cli.connection import read_login, write_login
from fedops.cli.operator_command import Operator, operator_command
from fedops.console.format import moment
from fedops.console.users import rights, user_tokens_table, users_table
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.core.states import Role
from fedops.settings import cli_settings

app = options.group("Users: who may do what, with which password and tokens.")
token_app = options.group("Tokens of users: create, list, revoke, rotate.")
app.add_typer(token_app, name="token")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="TASK", help="See this task alone; may be repeated."),
]
Of = Annotated[str | None, typer.Option("--user", metavar="NAME", help="Whose; default: your own.")]


@operator_command(app)
def add(
    operator: Operator,
    name: Name,
    role: Annotated[Role, typer.Option("--role", help="What they may do.")],
    task: Tasks = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a password, or read it from stdin.")
    ] = False,
) -> None:
    """Add a user. Without --password they need a token: 'fedops user token create --user NAME'."""
    given = asked_password(f"Password of {name}", twice=True) if password else None
    body = options.request(c.UserCreate, name=name, role=role, tasks=task or None, password=given)
    made = operator.client.add_user(body)
    how = (
        "They sign in with the password."
        if password
        else f"Give them a token: fedops user token create --user {name}"
    )
    operator.show(made, f"User {made.name} is {rights(made)}. {how}")


@operator_command(app, "list")
def list_(operator: Operator) -> None:
    """List the users."""
    found = operator.client.users()
    operator.show(found, users_table(found))


@operator_command(app)
def role(
    operator: Operator,
    name: Name,
    new: Annotated[Role, typer.Argument(metavar="ROLE", help="What they may do.")],
    task: Tasks = None,
    all_tasks: Annotated[
        bool, typer.Option("--all-tasks", help="Take the limit to named tasks away.")
    ] = False,
) -> None:
    """Change what a user may do, from their next call on."""
    body = options.request(c.UserUpdate, role=new, tasks=task or None, all_tasks=all_tasks)
    changed = operator.client.update_user(name, body)
    operator.show(changed, f"User {changed.name} is {rights(changed)}.")


@operator_command(app)
def disable(operator: Operator, name: Name) -> None:
    """Let a user do nothing any more, until 'fedops user enable'."""
    changed = operator.client.update_user(name, c.UserUpdate(disabled=True))
    operator.show(changed, f"User {changed.name} is disabled.")


@operator_command(app)
def enable(operator: Operator, name: Name) -> None:
    """Let a disabled user in again."""
    changed = operator.client.update_user(name, c.UserUpdate(disabled=False))
    operator.show(changed, f"User {changed.name} is enabled.")


@operator_command(app)
def password(
    operator: Operator,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The user; default: yourself.")
    ] = None,
) -> None:
    """Set a user's password, or change your own. Their browsers are signed out.

    Asks on a terminal; else stdin has a line for each: of your own the current one, then the new one.
    """
    if name is None:
        current = asked_password("Your password now")
        new = asked_password("Your new password", twice=True)
        body = options.request(c.PasswordChange, current=current, password=new)
        changed = operator.client.change_password(body)
    else:
        new = asked_password(f"Password of {name}", twice=True)
        changed = operator.client.set_password(name, options.request(c.PasswordSet, password=new))
    operator.show(changed, f"The password of {changed.name} is changed.")


@operator_command(app)
def remove(operator: Operator, name: Name, yes: options.Yes = False) -> None:
    """Take a user out for good. What they did stays theirs, and their name is not given again."""
    options.require_sure(f"Remove user {name}?", yes)
    removed = operator.client.remove_user(name)
    operator.show(removed, f"User {removed.name} is removed.")


# --- tokens ----------------------------------------------------------------------------------


@operator_command(token_app)
def create(
    operator: Operator,
    user: Of = None,
    role: Annotated[
        Role | None, typer.Option("--role", help="Less than the user's own role.")
    ] = None,
    task: Tasks = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it is valid: 24h, 90d.")
    ] = "90d",
    note: Annotated[str, typer.Option("--note", help="What it is for.")] = "",
) -> None:
    """Make a token for yourself or, as an admin, for a user. It is shown once and stored only as a hash."""
    lifetime = seconds(expires)
    body = options.request(
        c.PersonalTokenCreate,
        role=role,
        tasks=task or None,
        note=note,
        expires_in_seconds=lifetime,
    )
    where = operator.client.info().join_url or operator.client.url
    made = operator.client.create_user_token(body, user)
    operator.show(
        made,
        f"{made.token}\n",
        f"Token {made.id} of {made.user}, valid until {moment(made.expires_at)}. To use it:\n"
        f"  fedops login {where}",
    )


@operator_command(token_app, "list")
def list_tokens(operator: Operator, user: Of = None) -> None:
    """List tokens and open sessions (never the secrets)."""
    found = operator.client.user_tokens(user)
    operator.show(found, user_tokens_table(found))


@operator_command(token_app)
def revoke(
    operator: Operator,
    token_id: Annotated[
        int, typer.Argument(metavar="ID", help="As 'fedops user token list' shows it.")
    ],
    user: Of = None,
) -> None:
    """Make a token worthless, and end the sessions that it opened."""
    revoked = operator.client.revoke_user_token(token_id, user)
    operator.show(revoked, f"Token {revoked.id} of {revoked.user} is revoked.")


@operator_command(token_app)
def rotate(operator: Operator) -> None:
    """Put another token in place of the one that you use, which is worth nothing from then on.

    What 'fedops login' remembered, and the server's own file, hold the new one.
    """
    settings, used = cli_settings(), operator.secret
    made = operator.client.rotate_token()
    remembered = read_login(settings.login_file)
    if remembered is not None and remembered.token == used and made.token:
        write_login(replace(remembered, token=made.token), settings)
    operator.show(made, f"{made.token}\n", f"Token {made.id} of {made.user} replaces the former.")


def asked_password(question: str, *, twice: bool = False) -> str:
    """A password from the terminal, hidden, or a line of stdin."""
    if sys.stdin.isatty():
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise Invalid("no password given: type it on a terminal, or pipe it in as a line")
    return line
