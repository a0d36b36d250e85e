"""Writes the generated pages beside it from the code; ``make docs`` runs it, and a test compares.

What a key means stands beside it in the code: a ``#:`` comment above the field.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from fedops import settings
from fedops.algorithms.selection.registry import BUILT_IN
from fedops.cli.main import COMMANDS
from fedops.cli.observing.behind_dashes import WithCommand
from fedops.config import schema
from fedops.config.script_table import Script
from fedops.results.tables import LAYOUTS
from fedops.scalize.check.project_check import CheckedParameter, CheckReport, ProofStep
from fedops.scalize.discovery.choices import Choice, Option
from fedops.scalize.discovery.differences import Difference
from fedops.scalize.discovery.observed.init_report import InitReport, Setting
from fedops.scalize.flow.network_names import NETWORK_NAMES
from fedops.scalize.observing.records import (
    Note,
    Seen,
    SeenLoader,
    SeenModel,
    SeenOptimizer,
    SeenTensor,
)

HERE = Path(__file__).resolve().parent
_TYPES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Any: "any value",
}
_ANSWERS: list[type[BaseModel]] = [
    InitReport,
    CheckReport,
    Choice,
    Option,
    Setting,
    Difference,
    Note,
    ProofStep,
    CheckedParameter,
    Seen,
    SeenModel,
    SeenTensor,
    SeenOptimizer,
    SeenLoader,
]
NOTE = "<!-- Written by docs/reference/generate.py: change the code, then 'make docs'. -->\n"

ABOUT_COMMANDS = """\
This page lists every command with its arguments and options. Every command accepts `--json`; it then
prints one JSON document on stdout and nothing else. If a command fails, it prints one message on stderr
(with `--json` also a document with `kind`, `error` and `message` on stdout), and the kind of the failure
decides the exit code:
"""
ABOUT_LOGIN = """
A command looks for the Server Manager and the token in this order: `--server` and `--token -`
(which reads it from standard input: a token is never an argument, where everybody on the machine sees it);
`FEDOPS_SERVER` and `FEDOPS_TOKEN`; what `fedops login` saved; the admin token of a server on this
machine. A saved token is sent only to the server for which you saved it. If the server has a certificate
authority of its own, write its fingerprint behind the URL (`https://HOST:8600#sha256:...`), here or with
`fedops login`; nothing secret is sent to a server that shows another one.

`fedops --install-completion` lets the TAB key complete commands and options in your shell (bash, zsh, fish or
PowerShell), and the names of tasks and devices and the numbers of runs, as far as the server answers at once.
`fedops --show-completion` prints the script instead.
"""
ABOUT_CONFIG = """\
The config of an app says what is trained, and how. You can override every key for one run with `fedops run
start TASK --set key=value`, or for a task with `fedops task create --set`. What concerns a device alone
(`dataset`, `resources`, `wandb`, `xai`) you can override on that device with `fedops client run --set`.
The run stores the config that it really used. An unknown key is a mistake, and FedOps reports all mistakes
at once. A *step* is a table with `_target_` (the dotted name of something to call) and any arguments.
"""
ABOUT_NETWORK = """
## What a run's config may name on a device

A device trains the app that its owner installed, with the config of the run that the server sends. That
config chooses numbers and switches freely. The names in it (`_target_`, `optimizer`, `loss`) are limited to
those below, to what the app's own files on the device name, and to the names that the app lists as `choices
= ["myapp.models.Big"]` in `[tool.fedops]` of its `pyproject.toml`. Which functions load the data, train,
evaluate and validate is said by the app's own files alone. A setting that may lead to a file, a folder or a
URL is always the device's own, and so are `dataset.root`, `xai.output_dir`, `server.url` and `[wandb]`.
What is not allowed is refused, with its name, before the device does anything.
"""
ABOUT_SELECTORS = """
The selectors are {selectors}, and those of packages that you installed on the server (entry points
`fedops.selectors`). [How clients are chosen](../explanation/selection.md) says what each does and needs.
These are their options:
"""
ABOUT_API = """\
All calls are below `/api/v1`, except `/health`. They accept and return JSON, unless a call transfers a
file. A running server shows you the whole schema at `/api/docs`. Every call except `/health` and `/join`
carries `Authorization: Bearer TOKEN`. [protocol.md](protocol.md) explains the calls that devices and FL
servers make. An error is `{kind, error, message}`, with the HTTP status of its kind; `error` says more
exactly which it is, such as `RunBusy`. `fedops.api_client` is a typed client of this API.
"""

ABOUT_EXPORTS = """\
`fedops run export RUN` writes a folder, or a zip file with `--out NAME.zip`. The columns below stay as they
are; later versions may add some at the end of a table. Rows are sorted by run, round and name, so the same
run gives the same files. In CSV, what is not known is empty, lines end with `\\n`, and numbers have all
their digits; in parquet (`--to parquet`, which needs `pip install 'fedops[parquet]'`) it is null. Times are
POSIX seconds by the server's clock.

Beside the tables there are

- `config.toml`: the config that the run really used, and `config-run-N.toml` for each run if there are
  several. Values that look like secrets are replaced by `***`, and the manifest names their keys;
- `manifest.json`: `format_version` (1); for each run its seed, status, overrides, the app (sha256 of its
  bundle, and the Git commit where it is known), the model that it started from and the version that it made
  with their sha256, and what each of its FL servers ran on (Python, platform, versions of libraries); what
  the devices said of themselves when they last started, in the same way; and the sha256 of each file.

An export holds the names that devices have in FedOps, not those of their machines, and no data of theirs.
"""

ABOUT_ANSWERS = """\
`fedops init --json` prints one `InitReport`, `fedops check --json` one `CheckReport`: everything that a
person sees, for a program. Later versions may add keys; those below keep their names and meanings. If a
request itself is wrong, a command prints `kind`, `error` and `message` instead, as [all commands](cli.md)
do. [Bring a project in by a program](../howto/bring-a-project-in-by-a-program.md) shows how to use them.
"""

ABOUT_PERMISSIONS = """\
This page says who may call what. The Server Manager asks this very table before it reads a request's body,
whether the request comes from the command line, from a program of yours or, for the pages, from a browser.
A route that is not in the table answers nobody. [People and roles](../howto/people-and-roles.md) shows how
you add users.

| role | may |
|---|---|
| `admin` | do everything, and decide about other users |
| `operator` | create tasks, control runs, move aliases; one of all tasks also decides about devices |
| `viewer` | look at everything but events of users, and download models |
| `auditor` | read everything, also who did what from which address; takes no model, changes nothing |

An operator or a viewer may be limited to named tasks, and so may a token of anybody. The last column says
what such a person gets of a call:

| | |
|---|---|
"""
ABOUT_OF = {
    "the server": "nothing: the call is about the whole server",
    "the task": "the task that the path names, if it is one of theirs; any other does not exist for them",
    "the new task": "may make it, if its name is one of theirs",
    "the run": "the run that the path names, if it is of one of their tasks",
    "the study": "the study that the path names, if it is of one of their tasks",
    "the device": "the device that the path names, if it is in one of their tasks: what it does for these",
    "all of theirs": "an answer that holds what is of their tasks and nothing else",
    "oneself": "the same as everybody",
}


# --- commands --------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands\n",
        NOTE,
        ABOUT_COMMANDS,
        *_exit_codes(),
        ABOUT_LOGIN,
    ]
    for name, (module, line) in COMMANDS.items():
        command = typer.main.get_command(importlib.import_module(module).app)
        parts.append(f"\n## fedops {name}\n\n{line}\n")
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                parts.append(_command(f"fedops {name}", command, ""))
            parts += _subcommands(f"fedops {name}", command, "###")
        else:
            parts.append(_command(f"fedops {name}", command, ""))
    return "\n".join(parts)


def _subcommands(title: str, group: click.Group, heading: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield f"{heading} {title} {name}\n\n{_text(command.help)}\n"
            yield from _subcommands(f"{title} {name}", command, f"{heading}#")
        else:
            yield _command(f"{title} {name}", command, heading)


def _exit_codes() -> Iterator[str]:
    from fedops.core.errors import KINDS, FedOpsError

    yield "| exit | kind | meaning |\n|---|---|---|"
    yield "| 0 | | done |"
    yield f"| {FedOpsError.exit_code} | error | the run failed, or FedOps itself has a bug |"
    for kind, cls in sorted(KINDS.items(), key=lambda item: item[1].exit_code):
        yield f"| {cls.exit_code} | {kind} | {_first_line(cls)} |"
    yield "| 130 | | interrupted |"


def _command(title: str, command: click.Command, heading: str) -> str:
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    flags = [p for p in command.params if isinstance(p, click.Option)]
    words = [(p.metavar or str(p.name)).upper() for p in arguments]
    words = [w if p.required else f"[{w}]" for w, p in zip(words, arguments, strict=True)]
    shown = [title, *words, *([command.trailing] if isinstance(command, WithCommand) else [])]
    lines = [f"{heading} {title}\n"] if heading else []
    lines += [f"```console\n$ {' '.join(shown)}\n```\n", _text(command.help), ""]
    rows = [(f"`{w}`", str(getattr(p, "help", ""))) for w, p in zip(words, arguments, strict=True)]
    rows += [(f"`{_option(p)}`", _option_help(p)) for p in flags if not p.hidden]
    return "\n".join([*lines, "| | |\n|---|---|", *(f"| {a} | {_cell(b)} |" for a, b in rows), ""])


def _option(option: click.Option) -> str:
    names = ", ".join([*option.opts, *option.secondary_opts])
    return names if option.is_flag else f"{names} {option.metavar or 'VALUE'}"


def _option_help(option: click.Option) -> str:
    default = option.default
    shown = "" if option.is_flag or default in (None, "", []) else f" Default: {default}."
    return (option.help or "") + shown


def _text(text: str | None) -> str:
    return inspect.cleandoc(text or "").replace("\b", "")


# --- fields of models ------------------------------------------------------------------------


def config_page() -> str:
    """Every key of config.toml."""
    parts = [
        "# config.toml\n",
        NOTE,
        ABOUT_CONFIG,
    ]
    for title, model in _tables(schema.Config, ""):
        parts.append(f"## {f'[{title}]' if title else 'Top level'}\n")
        if title:
            parts.append(_about(model))
        parts.append(_field_table(model, lambda name: f"`{name}`"))
        if model is schema.ClientSelection:
            parts += [ABOUT_SELECTORS.format(selectors=_listed(BUILT_IN)), *_selector_options()]
    parts += [ABOUT_NETWORK, *_network_names()]
    return "\n".join(part for part in parts if part)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _selector_options() -> Iterator[str]:
    """The selectors, each with its options."""
    rows = ["| selector | option | type | default | |", "|---|---|---|---|---|"]
    for name, selector in BUILT_IN.items():
        comments = _comments(selector)
        for one in fields(selector):
            kind, about = _TYPES[type(one.default)], _cell(comments[one.name])
            rows.append(f"| `{name}` | `{one.name}` | {kind} | `{one.default}` | {about} |")
    yield "\n".join([*rows, ""])


def _network_names() -> Iterator[str]:
    yield "| package | names |\n|---|---|"
    packages = sorted({name.rpartition(".")[0] for name in NETWORK_NAMES})
    for package in packages:
        names = sorted(
            n.rpartition(".")[2] for n in NETWORK_NAMES if n.rpartition(".")[0] == package
        )
        yield f"| `{package}` | {', '.join(f'`{name}`' for name in names)} |"


def _about(model: type[BaseModel]) -> str:
    """The docstring of a table of its own, without its name."""
    line = _first_line(model) if "``[" in (model.__doc__ or "") else ""
    text = line.partition(": ")[2]
    return text[:1].upper() + text[1:] + "\n" if text else ""


def _tables(model: type[BaseModel], path: str) -> Iterator[tuple[str, type[BaseModel]]]:
    yield path, model
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        if inner is not None:
            yield from _tables(inner, f"{path}.{name}".lstrip("."))


def _section(annotation: Any) -> type[BaseModel] | None:
    """The table a field holds, unless it is a step (whose keys are free)."""
    choices = getattr(annotation, "__args__", (annotation,))
    for choice in choices:
        if isinstance(choice, type) and issubclass(choice, schema.Section):
            return None if issubclass(choice, schema.Step) else choice
    return None


def settings_page() -> str:
    """Every environment variable."""
    parts = [
        "# Settings\n",
        NOTE,
        "You can set these environment variables. An option on the command line takes precedence.\n",
    ]
    models: list[type[BaseSettings]] = [
        settings.ServerSettings,
        settings.ClientSettings,
        settings.CliSettings,
        settings.AppSettings,
    ]
    for model in models:
        prefix = str(model.model_config.get("env_prefix", ""))
        title = _first_line(model).removeprefix("Of ").partition(".")[0]
        parts.append(f"## {title[:1].upper()}{title[1:]}\n")
        parts.append(_field_table(model, lambda name, p=prefix: f"`{p}{name.upper()}`"))
    return "\n".join(parts)


def _field_table(model: type[BaseModel], shown: Callable[[str], str]) -> str:
    comments = _comments(model)
    rows = ["| key | type | default | |\n|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if _section(field.annotation) is not None:
            continue
        label = _own_variable(field) or shown(field.alias or name)
        kind, default = _type(field.annotation), _default(field)
        rows.append(f"| {label} | {kind} | {default} | {_cell(comments.get(name, ''))} |")
    return "\n".join(rows) + "\n"


def _own_variable(field: Any) -> str | None:
    """The environment variable of a field that does not follow the prefix."""
    choices = getattr(field.validation_alias, "choices", [])
    return next((f"`{name}`" for name in choices if str(name).isupper()), None)


def _type(annotation: Any) -> str:
    return _cell(_words(annotation))


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in arguments)
    if origin is list:
        return f"list of {_words(arguments[0])}"
    if origin in (Union, UnionType):
        return " or ".join(_words(part) for part in arguments if part is not type(None))
    if annotation is Script:
        return "[the table `[script]`](config.md)"
    if isinstance(annotation, type) and issubclass(annotation, schema.Step):
        return "step"
    if origin is dict:
        return f"table of {_words(arguments[1])}"
    if origin is tuple:
        return " and ".join(map(_words, arguments))
    if annotation in _ANSWERS:
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    return _TYPES.get(annotation, str(annotation))


def _default(field: Any) -> str:
    if field.default_factory is not None:
        value = field.get_default(call_default_factory=True)
        home = str(Path.home())
        return f"`{str(value).replace(home, '~')}`" if isinstance(value, Path) else "-"
    if field.default in (PydanticUndefined, None, ""):
        return "-"
    if isinstance(field.default, BaseModel):
        target = getattr(field.default, "target", "")
        return f"`{target}`" if target else "-"
    default = field.default
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _comments(model: type) -> dict[str, str]:
    """Field -> its ``#:`` comment."""
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__[:-1]):
        if not cls.__module__.startswith("fedops"):
            continue
        pending: list[str] = []
        for line in inspect.getsource(cls).splitlines():
            stripped = line.strip()
            if beside := re.match(r"(\w+)\s*:.*\s#: (.*)", stripped):
                found[beside[1]] = beside[2]
                pending = []
                continue
            if stripped.startswith("#:"):
                pending.append(stripped[2:].strip())
                continue
            name = re.match(r"(\w+)\s*:", stripped)
            if name and pending:
                found[name[1]] = " ".join(pending)
            pending = []
    return found


# --- the REST API ----------------------------------------------------------------------------


def api_page() -> str:
    """Every path of the API."""
    from fedops.server.app import create_app
    from fedops.testing import FakeEngines

    # Nothing is opened or written before the app is started.
    document = create_app(settings.server_settings(home=HERE), FakeEngines()).openapi()
    parts = [
        "# REST API\n",
        NOTE,
        ABOUT_API,
    ]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            line = operation.get("description") or operation.get("summary") or ""
            text = _cell(line.split("\n\n")[0].replace("\n", " "))
            groups.setdefault(tag, []).append(f"| `{method.upper()} {path}` | {text} |")
    for tag, rows in groups.items():
        parts.append("\n".join([f"## {tag}\n", "| | |\n|---|---|", *rows, ""]))
    return "\n".join(parts)


def permissions_page() -> str:
    """Every route against every role."""
    from fedops.core.states import Role, TokenKind
    from fedops.server.access.permissions import GROUPS

    parts = ["# Permissions\n", NOTE, ABOUT_PERMISSIONS.rstrip()]
    parts += [f"| *{name}* | {meaning} |" for name, meaning in ABOUT_OF.items()]
    head = [role.value for role in Role] + ["device", "FL server", "anybody"]
    for group, routes in GROUPS.items():
        parts.append(f"\n## {group}\n\n| | {' | '.join(head)} | limited to tasks |")
        parts.append("|---|" + ":-:|" * len(head) + "---|")
        for route, rule in routes.items():
            machines = [kind in rule.machines for kind in (TokenKind.DEVICE, TokenKind.ATTEMPT)]
            marks = [*(role in rule.roles for role in Role), *machines, rule.open]
            cells = ["✓" if mark else "" for mark in marks]
            of = rule.of.value if rule.roles else ""
            parts.append("| " + " | ".join([f"`{route}`", *cells, of]) + " |")
    return "\n".join(parts)


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|").strip()


def export_page() -> str:
    """Every table of an export, column by column."""
    parts = ["# Exports\n", NOTE, ABOUT_EXPORTS]
    for name, layout in LAYOUTS.items():
        rows = [f"| `{c.name}` | {c.kind} | {_cell(c.about)} |" for c in layout.columns]
        head = [f"## {name}\n", f"{layout.about}\n", "| Column | Type | |", "|---|---|---|"]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def answers_page() -> str:
    """Every key of what ``fedops init --json`` and ``fedops check --json`` print."""
    parts = ["# Answers for programs\n", NOTE, ABOUT_ANSWERS]
    for model in _ANSWERS:
        comments = _comments(model)
        rows = [
            f"| `{name}` | {_type(field.annotation)} | {_cell(comments.get(name, ''))} |"
            for name, field in model.model_fields.items()
        ]
        head = [
            f"## {model.__name__}\n",
            _own_line(model),
            "| key | type | |\n|---|---|---|",
        ]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def _own_line(model: type[BaseModel]) -> str:
    """The first sentence of its own docstring, not of a base's."""
    text = inspect.cleandoc(vars(model).get("__doc__") or "").partition("\n")[0]
    return f"{_cell(text.partition('. ')[0].rstrip('.'))}.\n" if text else ""


PAGES: dict[str, Callable[[], str]] = {
    "export.md": export_page,
    "answers.md": answers_page,
    "cli.md": cli_page,
    "config.md": config_page,
    "settings.md": settings_page,
    "api.md": api_page,
    "permissions.md": permissions_page,
}


def page(name: str) -> str:
    """A page's text, as it should be."""
    return re.sub(r"\n{3,}", "\n\n", PAGES[name]()).strip() + "\n"


def main() -> None:
    """Write all pages."""
    for name in sys.argv[1:] or PAGES:
        (HERE / name).write_text(page(name))


if __name__ == "__main__":
    main()
