"""What an app needs on a platform, to the last wheel: chosen by uv, with digests, and no code is run."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from fedops.core.errors import Invalid
from fedops.environments.installed_wheels import SOURCE_ONLY, installed_wheels
from fedops.environments.lock_file import Lock, preferred_lock, read_lock
from fedops.environments.package_sources import source_variables, without_index
from fedops.environments.platform_names import uv_arguments, uv_variables
from fedops.environments.uv import run_uv
from fedops.storage.disk import disk_errors

#: An index may be slow, and a large app has hundreds of packages to look at. Seconds.
LOCK_SECONDS = 300.0
#: What an app may name itself.
MAX_REQUIREMENTS, MAX_CHARACTERS = 500, 2_000
_FEDOPS = "fedops"
#: How often packages without wheels are replaced by what is installed here.
_TRIES = 5
_NO_WHEEL = re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)`")


def lock(
    requirements: Sequence[str],
    platform: str,
    *,
    own_wheel: Path | None,
    prefer: Mapping[str, str] | None = None,
) -> Lock:
    """Choose the wheels of an environment for a platform (``3.11/x86_64-manylinux_2_36``).

    ``own_wheel`` answers every requirement on FedOps, and FedOps is always among the packages. Beside it,
    wheels are made of what is installed here and an index has as source only. ``prefer``: versions by
    distribution that are taken where they fit.

    Raises:
        Invalid: what is asked for is not to be had for that platform.
        Unavailable: no index can be reached, or the disk is full.
    """
    wanted = [_parse(one) for one in _bounded(requirements)]
    if own_wheel is not None:
        _require_ours(wanted, own_wheel)
    named = sorted({canonicalize_name(one.name) for one in wanted})
    with disk_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        _write_inputs(folder, wanted, own_wheel, prefer or {})
        _compile(folder, platform, own_wheel)
        return Lock(tuple(read_lock(folder / "pylock.toml", platform)), tuple(named))


def _bounded(requirements: Sequence[str]) -> Sequence[str]:
    if len(requirements) > MAX_REQUIREMENTS:
        raise Invalid(
            f"the app names {len(requirements)} dependencies, more than {MAX_REQUIREMENTS}"
        )
    return requirements


def _parse(text: str) -> Requirement:
    """A requirement that names a package of an index, or a wheel by its URL. ``Invalid`` else."""
    try:
        found = Requirement(text[:MAX_CHARACTERS])
    except InvalidRequirement as error:
        raise Invalid(
            f"'{text[:200]}' in the app's dependencies is no requirement: {str(error).splitlines()[0]}"
        ) from None
    if found.url and canonicalize_name(found.name) != _FEDOPS:
        plain = found.url.partition("#")[0].partition("?")[0]
        if not found.url.startswith(("https://", "http://")) or not plain.endswith(".whl"):
            raise Invalid(
                f"the app depends on {found.name} at a URL that is no wheel: only wheels are installed on "
                "devices; name a version of an index, or the https:// URL of a wheel"
            )
    return found


def _require_ours(wanted: Sequence[Requirement], own_wheel: Path) -> None:
    """``Invalid`` when the app asks for another FedOps than the one that runs here."""
    version = parse_wheel_filename(own_wheel.name)[1]
    about = (version, Version(version.base_version))
    for one in wanted:
        fits = any(one.specifier.contains(each, prereleases=True) for each in about)
        if canonicalize_name(one.name) == _FEDOPS and not fits:
            raise Invalid(
                f"the app asks for '{one}', but this server runs FedOps {version.public}: devices run the "
                "same as their server; change the app's dependency, or upgrade the server"
            )


def _write_inputs(
    folder: Path, wanted: Sequence[Requirement], own_wheel: Path | None, prefer: Mapping[str, str]
) -> None:
    """FedOps' extras are all asked for at once: what replaces a requirement replaces its extras."""
    ours = [one for one in wanted if canonicalize_name(one.name) == _FEDOPS]
    lines = [str(one) for one in wanted if one not in ours]
    if prefer:
        (folder / "pylock.toml").write_text(preferred_lock(prefer), encoding="utf-8")
    if own_wheel is None:
        lines += [str(one) for one in ours] or [_FEDOPS]
    else:
        extras = ",".join(sorted({extra for one in ours for extra in one.extras}))
        line = f"{_FEDOPS}{f'[{extras}]' if extras else ''} @ {own_wheel.resolve().as_uri()}"
        lines.append(line)
        (folder / "overrides.txt").write_text(f"{line}\n", encoding="utf-8")
    (folder / "requirements.in").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _compile(folder: Path, platform: str, own_wheel: Path | None) -> None:
    """Ask uv. A package that has no wheel is asked for again with one that is made here."""
    made = _find_links(own_wheel, SOURCE_ONLY)
    for _ in range(_TRIES):
        try:
            return _run(folder, platform, own_wheel, made)
        except Invalid as error:
            more = _find_links(own_wheel, _NO_WHEEL.findall(error.message))
            if not more - made:
                raise Invalid(
                    f"no packages for {platform}: {error.message} (change the app's dependencies; only "
                    "wheels are installed on devices)"
                ) from None
            made |= more
    raise Invalid(f"too many of the app's packages have no wheel for {platform}")


def _find_links(own_wheel: Path | None, names: Sequence[str]) -> set[Path]:
    if own_wheel is None:
        return set()
    return set(installed_wheels(names, own_wheel.parent / "installed"))


def _run(folder: Path, platform: str, own_wheel: Path | None, made: set[Path]) -> None:
    links = [source_variables().get("UV_FIND_LINKS", ""), *{str(one.parent) for one in made}]
    arguments = ["pip", "compile", "requirements.in", "--output-file", "pylock.toml", "--quiet"]
    arguments += ["--format", "pylock.toml", "--only-binary", ":all:", *uv_arguments(platform)]
    arguments += ["--no-index"] if without_index() else []
    arguments += ["--overrides", "overrides.txt"] if own_wheel is not None else []
    run_uv(
        arguments,
        seconds=LOCK_SECONDS,
        where=folder,
        whose="the server",
        variables={**uv_variables(platform), "UV_FIND_LINKS": ",".join(filter(None, links))},
    )
