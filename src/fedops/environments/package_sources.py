"""Where packages come from: what this user has told pip or uv, as variables for uv."""

from __future__ import annotations

import configparser
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

#: What is handed on of what is meant for uv itself, credentials of an index included.
_OF_UV = re.compile(
    r"UV_(INDEX|DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|INDEX_STRATEGY|INDEX_\w+_(USERNAME|PASSWORD)"
    r"|KEYRING_PROVIDER|HTTP_\w+|NATIVE_TLS|SYSTEM_CERTS|INSECURE_HOST|TORCH_BACKEND|OFFLINE)"
)
_PROXIES = re.compile(r"(https?|all|no)_proxy", re.IGNORECASE)
_SECTIONS = ("global", "install", "download", "wheel")


def source_variables(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Find-links, indexes, proxies and certificates for uv: its own variables, else what pip is told.

    They may hold credentials of an index, which uv needs: they are for uv alone.
    """
    env = os.environ if environ is None else environ
    kept = {k: v for k, v in env.items() if _OF_UV.fullmatch(k) or _PROXIES.fullmatch(k)}
    pip = _of_pip(env)
    if "UV_FIND_LINKS" not in kept and (links := pip.get("find-links")):
        kept["UV_FIND_LINKS"] = ",".join(links.split())
    if not kept.keys() & {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} and (url := pip.get("index-url")):
        kept["UV_DEFAULT_INDEX"] = url.strip()
    if not kept.keys() & {"UV_INDEX", "UV_EXTRA_INDEX_URL"} and (
        more := pip.get("extra-index-url")
    ):
        kept["UV_INDEX"] = " ".join(more.split())
        kept.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # pip looks into all of them, too
    certificates = env.get("SSL_CERT_FILE") or pip.get("cert", "").strip()
    return {**kept, **({"SSL_CERT_FILE": certificates} if certificates else {})}


def without_index(environ: Mapping[str, str] | None = None) -> bool:
    """Whether packages come from find-links alone, as on a machine without a network."""
    env = os.environ if environ is None else environ
    said = env.get("UV_NO_INDEX") or _of_pip(env).get("no-index", "")
    return said.strip().lower() in ("1", "true", "yes", "on")


def _of_pip(env: Mapping[str, str]) -> dict[str, str]:
    """Its options by name. A variable stands above the files, as with pip itself."""
    found: dict[str, str] = {}
    for file in _pip_files(env):
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in _SECTIONS:
            if parser.has_section(section):
                found.update(parser.items(section))
    for name in ("find-links", "index-url", "extra-index-url", "no-index", "cert"):
        if value := env.get("PIP_" + name.upper().replace("-", "_")):
            found[name] = value
    return found


def _pip_files(env: Mapping[str, str]) -> list[Path]:
    named = env.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    home = Path(env.get("HOME") or Path.home())
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    places = [Path("/etc/pip.conf"), home / ".pip/pip.conf", config / "pip/pip.conf"]
    if sys.platform == "win32":
        places = [Path(env.get("APPDATA") or home) / "pip/pip.ini"]
    elif sys.platform == "darwin":
        places.append(home / "Library/Application Support/pip/pip.conf")
    own = Path(sys.prefix) / ("pip.ini" if sys.platform == "win32" else "pip.conf")
    return [*places, own, *([Path(named)] if named else [])]


def credentials_for(url: str, variables: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password of the index on the host of a URL, since uv leaves them out of what it locks."""
    host = urlsplit(url).netloc.rpartition("@")[2]
    for value in variables.values():
        for word in re.split(r"[\s,]+", value):
            parts = urlsplit(
                word.partition("=")[2] if word.partition("=")[0].isidentifier() else word
            )
            if parts.username is not None and parts.netloc.rpartition("@")[2] == host:
                return parts.username, parts.password or ""
    return None
