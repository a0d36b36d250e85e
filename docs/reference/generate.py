"""Writes the generated pages beside it from the code; ``make docs`` runs it, and a test compares.

What a key means stands beside it in the code: a ``#:`` comment above the field.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import typer
from field_words import ANSWERS, TYPES, cell, comments_of, default_of, type_of
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from fedops import settings
from fedops.algorithms.selection.registry import BUILT_IN
from fedops.cli.main import COMMANDS
from fedops.cli.observing.behind_dashes import WithCommand
from fedops.config import schema
from fedops.results.tables import LAYOUTS
from fedops.scalize.flow.network_names import NETWORK_NAMES

HERE = Path(__file__).resolve().parent
ABOUT = tomllib.loads((HERE / "introductions.toml").read_text(encoding="utf-8"))
NOTE = "<!-- Written by docs/reference/generate.py: change the code, then 'make docs'. -->\n"


# --- commands --------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its arguments and options."""
    parts = [
        "# Commands\n",
        NOTE,
        ABOUT["commands"],
        *_exit_codes(),
        ABOUT["login"],
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
    return "\n".join([*lines, "| | |\n|---|---|", *(f"| {a} | {cell(b)} |" for a, b in rows), ""])


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
        ABOUT["config"],
    ]
    for title, model in _tables(schema.Config, ""):
        parts.append(f"## {f'[{title}]' if title else 'Top level'}\n")
        if title:
            parts.append(_about(model))
        parts.append(_field_table(model, lambda name: f"`{name}`"))
        if model is schema.ClientSelection:
            parts += [ABOUT["selectors"].format(selectors=_listed(BUILT_IN)), *_selector_options()]
    parts += [ABOUT["network"], *_network_names()]
    return "\n".join(part for part in parts if part)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _selector_options() -> Iterator[str]:
    """The selectors, each with its options."""
    rows = ["| selector | option | type | default | |", "|---|---|---|---|---|"]
    for name, selector in BUILT_IN.items():
        comments = comments_of(selector)
        for one in fields(selector):
            kind, about = TYPES[type(one.default)], cell(comments[one.name])
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
    comments = comments_of(model)
    rows = ["| key | type | default | |\n|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if _section(field.annotation) is not None:
            continue
        label = _own_variable(field) or shown(field.alias or name)
        kind, default = type_of(field.annotation), default_of(field)
        rows.append(f"| {label} | {kind} | {default} | {cell(comments.get(name, ''))} |")
    return "\n".join(rows) + "\n"


def _own_variable(field: Any) -> str | None:
    """The environment variable of a field that does not follow the prefix."""
    choices = getattr(field.validation_alias, "choices", [])
    return next((f"`{name}`" for name in choices if str(name).isupper()), None)


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
        ABOUT["api"],
    ]
    groups: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = (operation.get("tags") or ["other"])[0]
            line = operation.get("description") or operation.get("summary") or ""
            text = cell(line.split("\n\n")[0].replace("\n", " "))
            groups.setdefault(tag, []).append(f"| `{method.upper()} {path}` | {text} |")
    for tag, rows in groups.items():
        parts.append("\n".join([f"## {tag}\n", "| | |\n|---|---|", *rows, ""]))
    return "\n".join(parts)


def permissions_page() -> str:
    """Every route against every role."""
    from fedops.core.states import Role, TokenKind
    from fedops.server.access.permissions import GROUPS

    parts = ["# Permissions\n", NOTE, ABOUT["permissions"].rstrip()]
    parts += [f"| *{name}* | {meaning} |" for name, meaning in ABOUT["of"].items()]
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


def export_page() -> str:
    """Every table of an export, column by column."""
    parts = ["# Exports\n", NOTE, ABOUT["exports"]]
    for name, layout in LAYOUTS.items():
        rows = [f"| `{c.name}` | {c.kind} | {cell(c.about)} |" for c in layout.columns]
        head = [f"## {name}\n", f"{layout.about}\n", "| Column | Type | |", "|---|---|---|"]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def answers_page() -> str:
    """Every key of what ``fedops init --json`` and ``fedops check --json`` print."""
    parts = ["# Answers for programs\n", NOTE, ABOUT["answers"]]
    for model in ANSWERS:
        comments = comments_of(model)
        rows = [
            f"| `{name}` | {type_of(field.annotation)} | {cell(comments.get(name, ''))} |"
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
    return f"{cell(text.partition('. ')[0].rstrip('.'))}.\n" if text else ""


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
