"""uv, run as a child that ends with us, sees no secrets of ours, and is understood when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from uv import find_uv_bin

from fedops.core.errors import FedOpsError, Invalid, Unavailable
from fedops.core.redaction import HIDDEN, redact
from fedops.environments.package_sources import source_variables
from fedops.processes.process_tree import end_tree
from fedops.processes.spawn import clean_env, let_go, spawn, tethered, without_credentials
from fedops.storage.shortages import shortage_of

#: How much of what uv says is read, and how much is shown. Bytes, characters.
_MOST_READ, _MOST_SAID = 64 << 10, 1_800
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
_NO_NETWORK = re.compile(
    r"error sending request|Failed to fetch|Request failed after|dns error|operation timed out|Connection re",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"HTTP status client error|\b40[0-9] [A-Z]|hash mismatch", re.IGNORECASE)


def run_uv(
    arguments: Sequence[str],
    *,
    seconds: float,
    where: Path,
    whose: str,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Run uv in the folder ``where``.

    Raises:
        Invalid: what is asked of it is not to be had; the message is what uv said.
        Unavailable: no network, no room on the disk of ``whose``, or it took longer than ``seconds``.
    """
    command = [_program(), *arguments, "--color", "never", "--no-progress"]
    with tempfile.TemporaryFile() as said:
        child = spawn(
            tethered(command),
            env=_environment(variables),
            cwd=where,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            end_tree(child.pid, 1.0)
            child.wait()
            raise Unavailable(f"uv took longer than {seconds:.0f} s; it is tried again") from None
        finally:
            let_go(child)
        if code:
            size = said.seek(0, os.SEEK_END)
            said.seek(max(0, size - _MOST_READ))
            raise failure(said.read().decode("utf-8", "replace"), where, whose)


def _program() -> str:
    try:
        return find_uv_bin()
    except FileNotFoundError:
        raise Unavailable(
            f"uv is missing beside {sys.executable}: install FedOps again, or 'pip install uv'"
        ) from None


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    """Ours without what would lead uv elsewhere."""
    plain = without_credentials(clean_env())
    leading = ("UV_", "PIP_", "VIRTUAL_ENV", "CONDA_", "PYTHONHOME")
    ours = {k: v for k, v in plain.items() if not k.startswith(leading)}
    cache = {"UV_CACHE_DIR": os.environ["UV_CACHE_DIR"]} if "UV_CACHE_DIR" in os.environ else {}
    fixed = {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_RETRIES": "1", "NO_COLOR": "1"}
    # The tether is Python: what lies where uv is run is not to be taken for its modules.
    fixed["PYTHONSAFEPATH"] = "1"
    return {**ours, **cache, **fixed, **source_variables(), **_config(), **(more or {})}


def _config() -> dict[str, str]:
    """The user's own configuration of uv, and no file that happens to lie beside where it is run."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    for file in (base / "uv/uv.toml", Path("/etc/uv/uv.toml")):
        if file.is_file():
            return {"UV_CONFIG_FILE": str(file)}
    return {"UV_NO_CONFIG": "1"}


def failure(said: str, where: Path, whose: str) -> FedOpsError:
    """What uv said, as one of our errors."""
    text = _sentence(said)
    for number in _OS_ERROR.findall(said):
        shortage = shortage_of(OSError(int(number), os.strerror(int(number))), where)
        if shortage is not None:
            return Unavailable(f"{shortage.named(whose)}: {shortage.remedy} and repeat")
    if _NO_NETWORK.search(said) and not _REFUSED.search(said):
        return Unavailable(f"the package index cannot be reached: {text}")
    return Invalid(text)


def _sentence(said: str) -> str:
    """Its errors, causes and hints in one paragraph, without warnings and secrets."""
    kept, skipping = [], False
    for line in said.splitlines():
        if re.match(r"\S", line):
            skipping = line.lower().startswith("warning")
        if line.strip() and not skipping:
            kept.append(re.sub(r"^\s*(error|cause): ", "", line).strip())
    text = redact(_CREDENTIALS.sub(HIDDEN, " ".join(kept))) or "uv failed and did not say why"
    return text if len(text) <= _MOST_SAID else f"{text[:_MOST_SAID]} ..."
