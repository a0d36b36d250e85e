"""What a machine lacks, by the errors that it shows in."""

from __future__ import annotations

import errno
import os

import pytest

from fedops.core.reasons.shortages import (
    Lack,
    Shortage,
    is_of_device,
    lack_of,
    lack_of_postgresql,
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "the server's disk is full (/x): free some space, and it goes on"),
        (errno.EROFS, "the server's disk is read-only (/x): make it writable again"),
        (errno.EACCES, "the server may not write to its folder (/x): let its user write there"),
        (errno.EIO, "the server's disk fails (/x): look into dmesg"),
        (errno.EMFILE, "the server has too many files and connections open (/x): start it again"),
        (errno.ENFILE, "the machine of the server has too many files open (/x): end other"),
        (errno.ENOMEM, "the server has no memory left (/x): end other programs there"),
    ],
)
def test_each_is_named_with_its_place_and_what_to_do(number: int, text: str) -> None:
    lack = lack_of(OSError(number, os.strerror(number)))
    assert lack is not None
    assert Shortage(lack, "/x").text().startswith(text)


def test_what_is_about_something_else_is_no_shortage() -> None:
    assert lack_of(OSError(errno.ENOENT, "No such file or directory")) is None
    assert lack_of(ValueError("full")) is None
    assert lack_of(RuntimeError("can't start new game")) is None
    assert lack_of_postgresql("23505") is None
    assert lack_of_postgresql(None) is None


def test_errors_without_a_number() -> None:
    assert lack_of(MemoryError("Unable to allocate 8 GiB")) is Lack.MEMORY
    assert lack_of(RuntimeError("can't start new thread")) is Lack.PROCESSES
    assert lack_of_postgresql("53100") is Lack.DISK


@pytest.mark.parametrize("lack", list(Lack))
def test_whose_it_is(lack: Lack) -> None:
    shortage = Shortage(lack, "/home/pi")
    assert "the device" in shortage.text("the device")
    assert "server" not in shortage.text("the device").replace("database", "")
    assert "{" not in shortage.text()
    assert Shortage(lack, "").named() == shortage.short()
    assert is_of_device(shortage.text("the device"))
    assert not is_of_device(shortage.text())
    assert not is_of_device("ValueError: no such column")
