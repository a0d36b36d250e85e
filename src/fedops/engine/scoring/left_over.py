"""Rounds that an earlier attempt committed and did not score: they are scored first."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fedops.core.contracts import BlobRef, UnscoredRound
from fedops.core.errors import FedOpsError
from fedops.engine.link.blob_files import BlobFiles
from fedops.engine.scoring.round_scoring import RoundScoring
from fedops.engine.scoring.scorer import UpdateFile

logger = logging.getLogger("fedops.engine")


def score_left_over(
    rounds: Sequence[UnscoredRound],
    scoring: RoundScoring,
    files: BlobFiles,
    spool: Path,
    max_bytes: int,
    dataset: str,
) -> None:
    """Begin with them, the first one first. What is not there any more is said with their scores."""
    for one in rounds:
        folder = spool / f"round-{one.round:05}"
        folder.mkdir(parents=True, exist_ok=True)
        before = model_file(one.before, files, folder / "before.safetensors")
        previous = model_file(one.previous, files, folder / "previous.safetensors")
        updates = _updates(one, files, folder, max_bytes)
        for delivery in one.evaluations:
            scoring.take(delivery)
        scoring.begin(one.round, one.plan, updates, before, previous, dataset)


def model_file(ref: BlobRef | None, files: BlobFiles, path: Path) -> Path | None:
    """The model, if it is there."""
    try:
        return files.fetch(ref, path) if ref else None
    except FedOpsError as error:
        logger.warning("%s", error.message)
        return None


def _updates(
    one: UnscoredRound, files: BlobFiles, folder: Path, max_bytes: int
) -> list[UpdateFile]:
    found = []
    try:
        for delivery in one.deliveries:
            path = files.update(delivery, folder / f"{delivery.device}.safetensors", max_bytes)
            found.append(UpdateFile(delivery.device, path, one.examples[delivery.device]))
    except FedOpsError as error:
        logger.warning("an update of round %d is not there: %s", one.round, error.message)
        return []
    return found
