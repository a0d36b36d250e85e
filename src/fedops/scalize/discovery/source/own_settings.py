"""Where a project keeps its settings beside its code: files, Hydra's configs, its Flower app's run config."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fedops.config.settings_files import changed, composed, load_omegaconf, read_settings
from fedops.core.errors import Invalid
from fedops.scalize.discovery.source.definitions import PLAIN, Names
from fedops.scalize.discovery.source.files_read import Source

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
#: Arguments by which a reader makes something else of what it reads.
_HOOKS = {"object_hook", "object_pairs_hook", "cls"}
#: What has parts, and the keys that say which.
_FROM_FILES = {_DICT, _NAMESPACE, _OMEGACONF, _HYDRA}
_NAMES_IT = ("_target_", "file_", "folder_", "name_")


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

    def said(self, path: Sequence[str]) -> Any:
        """The plain value that it says at a path."""
        value = part_of(self.content, path)
        return value if isinstance(value, PLAIN) or _is_plain_list(value) else None

    def part(self, path: Sequence[str]) -> SettingsObject | None:
        """The table at a path, where it has one."""
        if not path:
            return self
        inner = part_of(self.content, path)
        if not isinstance(inner, Mapping) or not _FROM_FILES.issuperset({self.table["_target_"]}):
            return None
        section = ".".join([*filter(None, [self.table.get("section_", "")]), *path])
        known = {key: self.table[key] for key in _NAMES_IT if key in self.table}
        changes = {k: v for k, v in self.table.items() if k not in {*_NAMES_IT, "section_"}}
        more = part_of(changes, path)
        more = more if isinstance(more, Mapping) else {}
        return SettingsObject({**known, "section_": section, **more}, inner)

    def changed(self, path: Sequence[str], value: Any) -> SettingsObject | None:
        """The same with another value at a path; None where there is no such table."""
        if not path or (self.table["_target_"] == _NAMESPACE and path[1:]):
            return None
        inner: Any = value
        for name in reversed(path):
            inner = {name: inner}
        return SettingsObject(changed(self.table, inner), changed(self.content, inner))


@dataclass
class OwnSettings:
    values: list[Setting] = field(default_factory=list)
    #: Module, function or class in it, variable or parameter -> what it holds.
    #: None: it holds different ones.
    objects: dict[tuple[str, str, str], SettingsObject | None] = field(default_factory=dict)
    #: Files that a device needs as well, seen from the project's folder.
    files: set[str] = field(default_factory=set)

    def value(self, path: Sequence[str]) -> Any:
        """The one value whose path ends like this. None: there is none, or several differ."""
        wanted = tuple(path)
        ends = [s.value for s in self.values if s.path[-len(wanted) :] == wanted]
        return ends[0] if wanted and ends and all(value == ends[0] for value in ends) else None

    def add(self, place: tuple[str, str], name: str, made: SettingsObject | None) -> None:
        """What a variable holds from where it is assigned on."""
        known = self.objects.setdefault((*place, name), made)
        if known is None or made is None or known.table != made.table:
            self.objects[*place, name] = None

    def the_only(self) -> dict[str, Any] | None:
        """The table of the one object that all the project's variables of settings hold."""
        tables = [dict(one.table) if one else None for one in self.objects.values()]
        return tables[0] if tables and all(table == tables[0] for table in tables) else None

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
    def __call__(self, node: ast.expr, at: tuple[str, str]) -> Any:
        """The plain value of an expression that stands at a place of the project, if it is known."""


def settings_of(
    project: Path, sources: Sequence[Source], named: set[str], value_of: Options
) -> OwnSettings:
    """``named``: the files of settings that the code names, seen from the project's folder."""
    found = OwnSettings()
    for source in sources:
        for variable, node, near, scope in _assigned(source.tree):
            place = (source.names.module, scope)
            made = _wrapped(node, place, source.names, found)
            if made is None:
                read = partial(value_of, at=place)
                made = _made(node, near, source.names, project / source.path, project, read)
            elif any(isinstance(n, ast.Name) and n.id == variable for n in ast.walk(node)):
                found.objects.pop((*place, variable))  # cfg = Namespace(**cfg)
            if made is not None or (*place, variable) in found.objects:
                found.add(place, variable, made)
        for function in (n for n in source.tree.body if isinstance(n, ast.FunctionDef)):
            if composed := _of_hydra(function, source, project, found):
                place = (source.names.module, function.name)
                found.add(place, function.args.args[0].arg, composed)
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


def _assigned(
    tree: ast.Module,
) -> Iterator[tuple[str, ast.expr, Sequence[ast.expr], str]]:
    """Each ``name = value``, what the ``with`` statements around it open, and where it stands."""
    around: dict[int, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.With):
            for inner in ast.walk(node):
                around.setdefault(id(inner), []).extend(i.context_expr for i in node.items)
    for top in tree.body:
        scope = getattr(top, "name", "")
        found = [n for n in ast.walk(top) if isinstance(n, ast.Assign)]
        for node in sorted(found, key=lambda n: n.lineno):
            if isinstance(node.targets[0], ast.Name):
                yield node.targets[0].id, node.value, around.get(id(node), ()), scope


def _wrapped(
    node: ast.expr, place: tuple[str, str], names: Names, found: OwnSettings
) -> SettingsObject | None:
    """``Namespace(**raw)``, where ``raw`` holds what a file says."""
    if not isinstance(node, ast.Call) or len(node.args) + len(node.keywords) != 1:
        return None
    maker = _MAKERS.get(names.dotted(node.func), "")
    spread = node.keywords[0] if node.keywords else None
    of = node.args[0] if node.args else spread.value if spread and not spread.arg else None
    if maker not in (_DICT, _NAMESPACE, _OMEGACONF) or not isinstance(of, ast.Name):
        return None
    raw = found.objects.get((*place, of.id))
    return SettingsObject({**raw.table, "_target_": maker}, raw.content) if raw else None


def _made(
    node: ast.expr,
    near: Sequence[ast.expr],
    names: Names,
    file: Path,
    project: Path,
    value_of: Callable[[ast.expr], Any],
) -> SettingsObject | None:
    """What an expression makes from a file of settings."""
    calls = [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    makers = [maker for call in calls if (maker := _MAKERS.get(names.dotted(call.func)))]
    if not calls or node is not calls[0] or not makers:
        return None
    if names.dotted(calls[0].func) not in _MAKERS:
        return None  # a class of somebody else around it
    if any(keyword.arg in _HOOKS for call in calls for keyword in call.keywords):
        return None  # what it reads is made into something else
    for text in _texts([node, *near], value_of):
        for folder in (project, file.parent):
            path = (folder / text).resolve()
            if path.is_file() and path.is_relative_to(project) and path.suffix in _READ:
                table = {"_target_": makers[0], "file_": path.relative_to(project).as_posix()}
                content = _loaded(path) if makers[0] == _OMEGACONF else _read(path)
                return SettingsObject(table, content if isinstance(content, Mapping) else {})
    return None


def _texts(nodes: Sequence[ast.expr], value_of: Callable[[ast.expr], Any]) -> Iterator[str]:
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
    return _resolved(partial(composed, folder, name))


def _loaded(file: Path) -> dict[str, Any]:
    return _resolved(partial(load_omegaconf, str(file)))


def _resolved(make: Callable[[], Any]) -> dict[str, Any]:
    """What a config says, without what it would take from this machine's environment."""
    try:
        plain = _without_environment(OmegaConf.to_container(make(), resolve=False))
        content: Any = OmegaConf.to_container(OmegaConf.create(plain), resolve=True)
    except (Invalid, OmegaConfBaseException):
        return {}
    return content if isinstance(content, dict) else {}


def _without_environment(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_environment(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_environment(item) for item in value]
    return None if isinstance(value, str) and "${oc." in value else value


def _read(file: Path) -> Any:
    try:
        return read_settings(file) if file.suffix in _READ else {}
    except Invalid:  # said where it is needed
        return {}
