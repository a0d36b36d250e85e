"""Where a project keeps its settings beside its code: files, Hydra's configs, its Flower app's run config."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedops.config.settings_files import composed, read_settings
from fedops.core.errors import Invalid
from fedops.scalize.discovery.source.definitions import PLAIN, Names
from fedops.scalize.discovery.source.files_read import Source

SETTINGS_FILES = (".yaml", ".yml", ".toml", ".json", ".ini", ".cfg")
_READ = (".yaml", ".yml", ".toml", ".json")
_FILES = "fedops.config.settings_files"
_DICT, _NAMESPACE = f"{_FILES}.as_dict", f"{_FILES}.as_namespace"
_OMEGACONF, _HYDRA = f"{_FILES}.as_omegaconf", f"{_FILES}.from_hydra"
#: What is called -> what gives the same from the file's name.
_MAKERS = {
    **dict.fromkeys(("yaml.safe_load", "yaml.load", "yaml.full_load", "toml.load"), _DICT),
    **dict.fromkeys(("json.load", "json.loads", "tomllib.load", "tomllib.loads", "dict"), _DICT),
    **dict.fromkeys(("argparse.Namespace", "types.SimpleNamespace"), _NAMESPACE),
    **dict.fromkeys(("omegaconf.OmegaConf.load", "omegaconf.OmegaConf.create"), _OMEGACONF),
}


@dataclass(frozen=True)
class Setting:
    path: tuple[str, ...]  #: from the top of its file
    value: Any
    where: str  #: the file


@dataclass(frozen=True)
class SettingsObject:
    """What the project's code holds its settings in, as a table of a federated app's config."""

    table: Mapping[str, Any]
    content: Mapping[str, Any]  #: what it says; empty where that cannot be told


@dataclass
class OwnSettings:
    values: list[Setting] = field(default_factory=list)
    #: Variable or parameter -> what it holds.
    #: None: several of that name hold different ones.
    objects: dict[str, SettingsObject | None] = field(default_factory=dict)
    #: Files that a device needs as well, seen from the project's folder.
    files: set[str] = field(default_factory=set)

    def value(self, path: Sequence[str]) -> Any:
        """The one value whose path ends like this. None: there is none, or several differ."""
        wanted = tuple(path)
        ends = [s.value for s in self.values if s.path[-len(wanted) :] == wanted]
        return ends[0] if wanted and ends and all(value == ends[0] for value in ends) else None

    def add(self, name: str, made: SettingsObject) -> None:
        """What a variable holds from where it is assigned on."""
        known = self.objects.setdefault(name, made)
        if known is not None and known.table != made.table:
            self.objects[name] = None
        self.files |= {str(made.table[key]) for key in ("file_",) if key in made.table}

    def held(self, node: ast.expr) -> dict[str, Any] | None:
        """The table of the config for what an expression is: an object of settings, or a part of one."""
        name, path = chain(node)
        one = self.objects.get(name)
        if one is None:
            return None
        inner = part_of(one.content, path)
        if path and not isinstance(inner, Mapping):
            return None
        return {**one.table, **({"section_": ".".join(path)} if path else {})}

    def the_only(self) -> dict[str, Any] | None:
        """The table of the one object that all the project's variables of settings hold."""
        tables = [dict(one.table) if one else None for one in self.objects.values()]
        return tables[0] if tables and all(table == tables[0] for table in tables) else None

    def said_in(self, node: ast.expr) -> Any:
        """The plain value of ``cfg.train.lr`` or ``config["lr"]``."""
        name, path = chain(node)
        one = self.objects.get(name)
        value = part_of(one.content, path) if one and path else self.value(path)
        return value if isinstance(value, PLAIN) or _is_plain_list(value) else None

    def content_of(self, table: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the object of a table says. Empty: nobody knows."""
        path = str(table.get("section_", ""))
        for one in filter(None, self.objects.values()):
            if all(table.get(key) == value for key, value in one.table.items()):
                content = part_of(one.content, path.split(".") if path else [])
                return content if isinstance(content, Mapping) else {}
        return {}


def chain(node: ast.expr) -> tuple[str, list[str]]:
    """``cfg.train["lr"]`` -> ``"cfg", ["train", "lr"]``; ``"", []`` where it is no such thing."""
    path: list[str] = []
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            path.append(node.attr)
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            path.append(str(node.slice.value))
        else:
            return "", []
        node = node.value
    return node.id, path[::-1]


def part_of(content: Any, path: Sequence[str]) -> Any:
    """What a table says at a path; None where it says nothing."""
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


class Options(Protocol):
    def __call__(self, node: ast.expr) -> Any:
        """The plain value of an expression of the project, if it is known."""


def settings_of(
    project: Path, sources: Sequence[Source], named: set[str], value_of: Options
) -> OwnSettings:
    """``named``: the files of settings that the code names, seen from the project's folder."""
    found = OwnSettings()
    for source in sources:
        for variable, node, near in _assigned(source.tree):
            if made := _made(node, near, source.names, project / source.path, project, value_of):
                found.add(variable, made)
        for function in (n for n in source.tree.body if isinstance(n, ast.FunctionDef)):
            if composed := _of_hydra(function, source, project, found):
                found.add(function.args.args[0].arg, composed)
    for name in sorted(named):
        found.values += leaves_of(_read(project / name), name)
    found.values += _of_flower_app(project)
    return found


def leaves_of(content: Any, where: str, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """The plain values of a table, however deep."""
    for key, value in content.items() if isinstance(content, Mapping) else ():
        here = (*path, str(key))
        if isinstance(value, Mapping):
            yield from leaves_of(value, where, here)
        elif isinstance(value, PLAIN) or _is_plain_list(value):
            yield Setting(here, value, where)


def _is_plain_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, PLAIN) for item in value)


def _of_flower_app(project: Path) -> Iterator[Setting]:
    """``[tool.flwr.app.config]``: Flower writes names with hyphens, code often with underscores."""
    content: Any = _read(project / "pyproject.toml")
    for part in ("tool", "flwr", "app", "config"):
        content = content.get(part, {}) if isinstance(content, Mapping) else {}
    for one in leaves_of(content, "pyproject.toml"):
        yield one
        yield Setting(tuple(part.replace("-", "_") for part in one.path), one.value, one.where)


# --- objects ---------------------------------------------------------------------------------------


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr, Sequence[ast.expr]]]:
    """Each ``name = value``, and what the ``with`` statements around it open."""
    around: dict[int, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            for inner in ast.walk(node):
                around.setdefault(id(inner), []).extend(i.context_expr for i in node.items)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value, around.get(id(node), ())


def _made(
    node: ast.expr,
    near: Sequence[ast.expr],
    names: Names,
    file: Path,
    project: Path,
    value_of: Options,
) -> SettingsObject | None:
    """What an expression makes from a file of settings."""
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    makers = [maker for call in calls if (maker := _MAKERS.get(names.dotted(call.func)))]
    if not calls or node is not calls[0] or not makers:
        return None
    if names.dotted(calls[0].func) not in _MAKERS:
        return None  # a class of somebody else around it
    for text in _texts([node, *near], value_of):
        for folder in (project, file.parent):
            path = (folder / text).resolve()
            if path.is_file() and path.is_relative_to(project) and path.suffix in _READ:
                table = {"_target_": makers[0], "file_": path.relative_to(project).as_posix()}
                content = _read(path)
                return SettingsObject(table, content if isinstance(content, Mapping) else {})
    return None


def _texts(nodes: Sequence[ast.expr], value_of: Options) -> Iterator[str]:
    for node in nodes:
        for inner in ast.walk(node):
            value = value_of(inner) if isinstance(inner, ast.expr) else None
            if isinstance(value, str) and value.endswith(_READ):
                yield value


def _of_hydra(
    function: ast.FunctionDef, source: Source, project: Path, found: OwnSettings
) -> SettingsObject | None:
    """What Hydra gives a function that it decorates."""
    given = next((_arguments(d, source.names) for d in function.decorator_list), None)
    if given is None or not function.args.args or not isinstance(given.get("config_name"), str):
        return None
    folder = ((project / source.path).parent / str(given.get("config_path") or ".")).resolve()
    if not (folder.is_dir() and folder.is_relative_to(project)):
        return None
    files = sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml"))
    found.files |= {path.relative_to(project).as_posix() for path in files}
    shown = folder.relative_to(project).as_posix()
    name = given["config_name"].removesuffix(".yaml")
    content = _composed(folder, name)
    found.values += leaves_of(content, f"{shown}/{name}.yaml")
    return SettingsObject({"_target_": _HYDRA, "folder_": shown, "name_": name}, content)


def _arguments(decorator: ast.expr, names: Names) -> dict[str, Any] | None:
    if not isinstance(decorator, ast.Call) or names.dotted(decorator.func) != "hydra.main":
        return None
    order = ("config_path", "config_name")
    given = {**dict(zip(order, decorator.args, strict=False))}
    given |= {k.arg: k.value for k in decorator.keywords if k.arg}
    return {name: value.value for name, value in given.items() if isinstance(value, ast.Constant)}


def _composed(folder: Path, name: str) -> dict[str, Any]:
    """The values of a config of Hydra's; {} where it cannot be composed without the project's code."""
    try:
        content: Any = OmegaConf.to_container(composed(folder, name), resolve=True)
    except (Invalid, OmegaConfBaseException):
        return {}
    return content if isinstance(content, dict) else {}


def _read(file: Path) -> Any:
    try:
        return read_settings(file) if file.suffix in _READ else {}
    except Invalid:  # said where it is needed
        return {}
