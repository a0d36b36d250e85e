"""From a bundle to the folder of an app."""

from __future__ import annotations

from fedops.client.deployment.commits.deployment_state import CommitNote
from fedops.client.deployment.commits.downloads import no_room, require_room
from fedops.client.deployment.commits.places import Places, remove_folder
from fedops.core.contracts import DesiredDeployment
from fedops.platforms.files import sync_all
from fedops.storage.app_archives import unpack, unpacked_bytes


def is_unpacked(places: Places, wish: DesiredDeployment, signed: bool) -> bool:
    """Whether the commit is here, from the bundle that is meant. ``signed``: and was verified."""
    place = places.commit(wish.commit)
    note = CommitNote.read(place)
    known = note is not None and note.bundle == wish.bundle.sha256 and place.app.is_dir()
    return known and note is not None and (note.signed or not signed)


def unpack_commit(places: Places, wish: DesiredDeployment, signed: bool) -> None:
    """The app's folder, from the bundle that is there. All of it is there, or nothing.

    Raises:
        Invalid: it is no bundle, or one that holds what it must not.
        NoRoom: the disk is full.
    """
    place = places.commit(wish.commit)
    needed = unpacked_bytes(place.bundle)
    require_room(place.path, needed)
    coming = place.path / "app.part"
    remove_folder(coming)
    remove_folder(place.app)
    try:
        unpack(place.bundle, coming)
        places.give(coming)
        sync_all()  # the note says that the commit is whole: after a power cut, too
        coming.replace(place.app)
        CommitNote.of(wish).model_copy(update={"signed": signed}).write(place)
    except OSError as error:
        remove_folder(coming)
        raise no_room(error, place.path, needed) from None
    place.bundle.unlink(missing_ok=True)
