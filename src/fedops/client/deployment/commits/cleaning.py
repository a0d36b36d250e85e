"""What no commit needs any more goes: folders of commits, environments, wheels."""

from __future__ import annotations

import logging
from pathlib import Path

from fedops.client.deployment.commits.deployment_state import CommitNote, DeploymentState
from fedops.client.deployment.commits.environments import Environments
from fedops.client.deployment.commits.places import CommitPlace, Places, remove_folder

logger = logging.getLogger("fedops.client")


def clean_up(places: Places, state: DeploymentState, environments: Environments) -> None:
    """Keep the commit that runs, the one before it, and the one that is at hand.

    Of other tasks that were deployed here all stays, but their environments count.
    """
    kept = {state.active, state.previous, state.commit, state.trying}
    for folder in _folders(places.commits):
        if folder.name not in kept:
            logger.info("the commit %s is removed: nothing needs it", folder.name[:12])
            remove_folder(folder)
    notes = [note for folder in _all_commits(places) if (note := CommitNote.read(folder))]
    used = {note.environment for note in notes}
    unused = [folder for folder in _folders(places.environments) if folder.name not in used]
    for folder in unused:
        remove_folder(folder)
    if unused:  # else it would grow for ever; what is linked into environments stays there
        remove_folder(places.cache)
        places.prepare()
    environments.free({digest for note in notes for digest in note.wheels})
    for left in places.coming.iterdir():
        remove_folder(left)


def _all_commits(places: Places) -> list[CommitPlace]:
    return [CommitPlace(path) for path in places.root.glob("[!_.]*/commits/*")]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
