"""The files of the app around a watched command."""

from __future__ import annotations

import os
from pathlib import Path

from fedops.core.errors import Invalid
from fedops.scalize.discovery.app_folder import (
    FOLDER,
    app_name,
    app_package,
    new_folder,
    require_free,
    write_texts,
)
from fedops.scalize.discovery.differences import FILE as DIFFERENCES
from fedops.scalize.discovery.differences import to_json
from fedops.scalize.discovery.observed.config_text import config_text
from fedops.scalize.discovery.observed.declared_options import script_of
from fedops.scalize.discovery.observed.look import Look
from fedops.scalize.discovery.observed.proposal import ScriptProposal
from fedops.scalize.discovery.source.source_files import module_name, python_files
from fedops.scalize.discovery.source.survey import analyse_project
from fedops.scalize.discovery.templates import Texts
from fedops.scalize.observing.records import Seen
from fedops.scalize.script.observation import INITIAL, OBSERVED
from fedops.storage import tensors

#: Files that a command reads and its code cannot do without, if they are no larger than this. Bytes.
_CARRIED = (".yaml", ".yml", ".toml", ".ini", ".cfg", ".json", ".sh", ".ipynb")
_CARRIED_LIMIT = 1_000_000


def write_app(proposal: ScriptProposal) -> list[Path]:
    """Write the app's folder beside the project's code; all of it or nothing.

    Raises:
        Conflict: the folder exists already.
        Invalid: the proposal has problems, or the models of the run cannot be read.
    """
    require_free(proposal.look.project)
    if proposal.problems or proposal.script is None:
        raise Invalid("; ".join(proposal.problems) or "there is nothing to write")
    with new_folder(proposal.look.project) as folder:
        return [*write_texts(folder, _texts(folder, proposal)), _write_models(folder, proposal)]


def _texts(folder: Path, proposal: ScriptProposal) -> dict[str, str]:
    look = proposal.look
    name = app_name(look.project)
    package = app_package(name)
    home = os.path.relpath(look.project, folder)
    carry = tuple(sorted(_carried(look)))
    texts = Texts(name, proposal.framework, package, _modules(look.project), home, home, carry)
    files = {
        "pyproject.toml": texts.pyproject({}),
        "config.toml": config_text(proposal, name.removesuffix("-federated")),
        OBSERVED: _kept(look.seen).model_dump_json(indent=2) + "\n",
        f"{package}/__init__.py": "",
        f"{package}/apps.py": texts.apps(),
    }
    if proposal.differences:
        files[DIFFERENCES] = to_json(proposal.differences)
    return files


def _kept(seen: Seen) -> Seen:
    """What travels with the app: without the names of this machine's files."""
    written = [file for file in seen.written if not Path(file).is_absolute()]
    return seen.model_copy(update={"read": [], "written": written, "error": ""})


def _modules(project: Path) -> tuple[str, ...]:
    names = (module_name(file, project) for file in python_files(project))
    return tuple(dict.fromkeys(name.split(".")[0] for name in names if name))


def _carried(look: Look) -> set[str]:
    """Settings and the like that the code names or the run read, seen from the project's folder."""
    named = set(analyse_project(look.project).settings_files)
    script = script_of(look.command, look.project)
    if script and script not in python_files(look.project):  # it is named as tests are
        named.add(script.relative_to(look.project).as_posix())
    for name in (*look.seen.read, *look.command):
        file = (look.project / name).resolve()
        if name not in look.seen.written and _is_carried(file, look.project):
            named.add(file.relative_to(look.project).as_posix())
    return named


def _is_carried(file: Path, project: Path) -> bool:
    inside = file.is_relative_to(project) and FOLDER not in file.relative_to(project).parts
    fits = inside and file.suffix in _CARRIED and file.is_file()
    return fits and file.stat().st_size <= _CARRIED_LIMIT


def _write_models(folder: Path, proposal: ScriptProposal) -> Path:
    """V0: the federated models as training first saw them."""
    file = folder / INITIAL
    tensors.save(_initial(proposal), file, durable=False)
    return file


def _initial(proposal: ScriptProposal) -> tensors.Tensors:
    held = tensors.load(proposal.look.tensors)
    seen, chosen = proposal.look.seen.models, proposal.models
    if len(seen) == 1:
        return held
    kept = {
        name: held[name]
        for name in held
        if any(name.startswith(f"{model.name}.") for model in chosen)
    }
    if not kept:
        raise Invalid(f"the run kept no tensor of {', '.join(model.name for model in chosen)}")
    if len(chosen) > 1:
        return kept
    return {name.removeprefix(f"{chosen[0].name}."): array for name, array in kept.items()}
