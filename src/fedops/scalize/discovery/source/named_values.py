"""What a project uses for a setting of a name, wherever it says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fedops.scalize.discovery.source.bindings import Bound, Change
from fedops.scalize.discovery.source.definitions import plain_value
from fedops.scalize.discovery.source.options import Option, merged
from fedops.scalize.discovery.source.own_settings import OwnSettings

#: A module, and what stands at its top: a function, a class, or "" for the top itself.
Place = tuple[str, str]
_Made = TypeVar("_Made")


@dataclass
class NamedValues:
    #: Module -> its options of argparse, those of all its parsers.
    argparse: dict[str, dict[str, Option]] = field(default_factory=dict)
    #: Command of click's or typer's -> name -> default.
    commands: dict[Place, dict[str, Any]] = field(default_factory=dict)
    own: OwnSettings = field(default_factory=OwnSettings)  #: settings beside the code
    bound: dict[Place, Bound] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)  #: of each module
    class_fields: dict[str, dict[str, Any]] = field(default_factory=dict)  #: of each class
    #: What was looked up once all was collected; None before.
    kept: dict[Any, Any] | None = field(default=None, repr=False)

    @property
    def options(self) -> dict[str, Any]:
        """Options of argparse and their defaults, of the whole project."""
        return self.options_of("")

    def options_of(self, module: str, as_typed: bool = False) -> dict[str, Any]:
        """Those of one module; where it has none, or is '', what all modules agree on.

        ``as_typed``: with those that the code changes later, if nobody knows to what.
        """
        return self._once(("options", module, as_typed), lambda: self._options(module, as_typed))

    def _options(self, module: str, as_typed: bool) -> dict[str, Any]:
        tables = {module: self.argparse[module]} if module in self.argparse else self.argparse
        changed = self._changed_options(tables)
        if as_typed:
            changed = {name: option for name, option in changed.items() if option.known}
        return {
            name: changed.get(name, option).value
            for name, option in merged(tables).items()
            if option.known and changed.get(name, option).known
        }

    def changed_options(self, module: str) -> list[str]:
        """The options that the code changes, nobody knows to what."""
        tables = {module: self.argparse[module]} if module in self.argparse else self.argparse
        return [name for name, option in self._changed_options(tables).items() if not option.known]

    def _once(self, key: Any, make: Callable[[], _Made]) -> _Made:
        """What does not change any more once all was collected."""
        if self.kept is None:
            return make()
        if key not in self.kept:
            self.kept[key] = make()
        found: _Made = self.kept[key]
        return found

    @property
    def click_options(self) -> dict[str, Any]:
        return self._once("commands", lambda: merged(self.commands))

    @property
    def constants(self) -> dict[str, Any]:
        """``NAME = plain value`` at the top of a module."""
        modules = [module for module, scope in self.bound if not scope]
        return self._once("constants", lambda: merged({m: self.constants_of(m) for m in modules}))

    def constants_of(self, module: str) -> dict[str, Any]:
        found = {
            name: plain_value(values[0])
            for name, values in self.bound.get((module, ""), {}).items()
            if len(values) == 1
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def fields(self) -> dict[str, Any]:
        """Defaults of annotated fields of classes."""
        return self._once("fields", lambda: merged(self.class_fields))

    def named_value(self, name: str, module: str = "") -> Any:
        """What the project uses for a setting of this name: an option, a constant, a field, of a file."""
        options = self.options_of(module)
        for known in (options, self.click_options, self.constants, self.fields):
            for spelling in (name, name.upper()):
                if known.get(spelling) is not None:
                    return known[spelling]
        return None if self._is_an_option(name) else self.own.value((name,))

    def _is_an_option(self, name: str) -> bool:
        return any(name in table for table in self.argparse.values())

    def _changed_options(self, tables: Mapping[str, Any]) -> dict[str, Option]:
        """Options that the code itself sets after the command line was read, or before."""
        names = {name for table in tables.values() for name in table}
        found: dict[str, Option] = {}
        for changes in self.changes.values():
            for change in changes:
                name = change.path[-1] if change.path else ""
                if name not in names or len(change.path) != 1:
                    continue
                value = plain_value(change.value)
                new = Option(value, known=value is not None)
                found[name] = new if found.get(name, new) == new else Option(None, known=False)
        return found
