"""The models a device has: whole or not used, few, and within their bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fedops.client.work.model_cache import MODELS_A_TASK, Damaged, ModelCache
from fedops.core.contracts import BlobRef


def blob(number: int, size: int = 100) -> tuple[BlobRef, bytes]:
    data = bytes([number]) * size
    return BlobRef(sha256=hashlib.sha256(data).hexdigest(), size=size), data


def fetched(cache: ModelCache, task: str, number: int, size: int = 100) -> Path:
    ref, data = blob(number, size)
    cache.part(task, ref).write_bytes(data)
    return cache.admit(task, ref)


def test_what_arrived_whole_is_found(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 1_000)
    ref, data = blob(1)
    assert cache.find("t", ref) is None
    path = fetched(cache, "t", 1)
    assert path.read_bytes() == data
    assert ModelCache(tmp_path, 1_000).find("t", ref) == path
    assert cache.find("other", ref) is None


def test_what_arrived_damaged_is_thrown_away(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 1_000)
    ref, data = blob(1)
    for wrong in (data[:-1], data + b"x", data[:-1] + b"x"):
        cache.part("t", ref).write_bytes(wrong)
        with pytest.raises(Damaged, match=hashlib.sha256(wrong).hexdigest()):
            cache.admit("t", ref)
        assert not cache.part("t", ref).exists()


def test_what_was_damaged_on_the_disk_is_thrown_away(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 1_000)
    path = fetched(cache, "t", 1)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert cache.find("t", blob(1)[0]) is None
    assert not path.exists()


def test_two_a_task_and_the_one_used_last_stays(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 10_000)
    for number in (1, 2):
        path = fetched(cache, "t", number)
        os.utime(path, ns=(number, number))
    assert cache.find("t", blob(1)[0]) is not None  # used now
    fetched(cache, "t", 3)
    fetched(cache, "other", 2)
    assert [cache.find("t", blob(n)[0]) is not None for n in (1, 2, 3)] == [True, False, True]
    assert cache.find("other", blob(2)[0]) is not None
    assert MODELS_A_TASK == 2


def test_no_more_bytes_than_allowed_but_the_newest(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path, 250)
    for number, task in enumerate("abc"):
        path = fetched(cache, task, number)
        os.utime(path, ns=(number, number))
    assert cache.find("a", blob(0)[0]) is None
    assert cache.find("c", blob(2)[0]) is not None
    assert fetched(ModelCache(tmp_path, 10), "d", 4).exists()
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1


def test_other_names_are_safe(tmp_path: Path) -> None:
    assert fetched(ModelCache(tmp_path, 1_000), "../../elsewhere", 1).exists()
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 1
