"""Whether a commit is signed by somebody whom the device's owner allows, and its bundle holds its files.

The server is not trusted in this: the signature is on the commit, the commit names its files, and the bundle
is compared with them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from fedops.core.contracts import DesiredDeployment
from fedops.core.errors import Invalid
from fedops.processes.spawn import clean_env
from fedops.scalize.flow.manifest import Manifest, read_manifest
from fedops.storage.app_archives import MAX_FILES, MAX_UNPACKED, check_entries

#: How long Git may take for one thing. Seconds.
_SECONDS = 120.0
_MOST_PACK = 1 << 30
#: Only signatures of SSH keys count, and only of those in the owner's file.
_TRUST = ("gpg.format=ssh", "gpg.minTrustLevel=fully", "gpg.openpgp.program=", "gpg.x509.program=")
#: No file is changed on its way from the repository, whatever its ``.gitattributes`` say.
_AS_IT_IS = "* -text -ident !eol !filter !working-tree-encoding\n"
_PLAIN = ("core.autocrlf=false", "core.hooksPath=", "core.fsmonitor=false")


@dataclass(frozen=True)
class SignedCommit:
    """A commit in a repository of its own, which goes when it is done with."""

    repository: Path
    commit: str

    def verify(self, allowed_signers: Path) -> None:
        """``Invalid``: it is not signed, or by somebody else."""
        trust = [f"gpg.ssh.allowedSignersFile={allowed_signers}", *_TRUST]
        done = self._git("verify-commit", self.commit, config=trust)
        if done.returncode != 0:
            raise Invalid(
                f"the commit {self.commit[:12]} is not signed by anybody in {allowed_signers} "
                f"({_last_words(done.stderr) or 'it has no signature'}): sign it with such a key "
                "('git commit -S'), or add its key to the file"
            )

    def check_out(self, subfolder: str, target: Path) -> Path:
        """The app in ``subfolder``, with the folders beside it that its manifest names, below ``target``.

        Raises:
            Invalid: there is no such app in the commit, or more than an app may have.
        """
        attributes = self.repository / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text(_AS_IT_IS)
        target.mkdir()
        self._add(subfolder, target)
        app = target / subfolder if subfolder else target
        for folder in _beside(read_manifest(app), target):
            self._add(folder, target)
        _refuse_links_out(target)
        return app

    def _add(self, folder: str, target: Path) -> None:
        self._check_size(folder)
        before = ["--literal-pathspecs", f"--work-tree={target}"]
        done = self._git("checkout", "--force", self.commit, "--", folder or ".", before=before)
        if done.returncode != 0:
            raise Invalid(f"the files of the commit cannot be read: {_last_words(done.stderr)}")

    def _check_size(self, folder: str) -> None:
        where = ["--", folder] if folder else []
        listed = self._git("ls-tree", "-r", "-l", self.commit, *where)
        rows = [line.split(b"\t")[0].split() for line in listed.stdout.splitlines()]
        total = sum(int(row[3]) for row in rows if row[3].isdigit())
        if len(rows) > MAX_FILES or total > MAX_UNPACKED:
            raise Invalid(
                f"the commit has {len(rows)} files with {total >> 20} MiB, and an app at most {MAX_FILES}"
                f" with {MAX_UNPACKED >> 20} MiB"
            )

    def _git(
        self, *words: str, config: Sequence[str] = (), before: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        options = [word for one in (*_PLAIN, *config) for word in ("-c", one)]
        git_dir = f"--git-dir={self.repository}"
        return _run(["git", *options, git_dir, *before, *words], None, self.repository)


def check_signature(
    wish: DesiredDeployment, bundle: Path, pack: Path, allowed_signers: Path, folder: Path
) -> None:
    """Let only a commit pass that is signed, and a bundle of its files. ``folder`` is empty, and ours.

    Raises:
        Invalid: it is not so, with what to do.
    """
    from fedops.flower.app_package import build_bundle  # few devices need it, and it takes a second

    if not allowed_signers.is_file():
        raise Invalid(
            f"device.toml: [deploy] allowed_signers: there is no file {allowed_signers}, so that no commit "
            "can be verified; put the keys of those there who may sign"
        )
    commit = unpack_commit(pack, wish.commit, folder / "commit.git")
    commit.verify(allowed_signers)
    app = commit.check_out(wish.subfolder, folder / "files")
    differing = differences(build_bundle(app), bundle)
    if differing:
        raise Invalid(
            f"the app bundle does not hold the files of the signed commit {wish.commit[:12]}: "
            f"{', '.join(differing[:3])}; look who changed it on the server"
        )


def require_pack(wish: DesiredDeployment) -> None:
    """``Invalid``: there is nothing whose signature could be verified."""
    if wish.pack is None:
        raise Invalid(
            "device.toml asks for a signed commit ([deploy] allowed_signers), and the server has none to "
            "show: the task's code comes from a plain folder, or the commit is too large; use a smaller Git "
            "repository as its source"
        )
    if wish.pack.size > _MOST_PACK:
        raise Invalid(f"the commit's pack has {wish.pack.size >> 20} MiB, more than we verify")


def unpack_commit(pack: Path, commit: str, repository: Path) -> SignedCommit:
    """A bare repository of what a pack holds.

    Raises:
        Invalid: there is no Git here, or the pack does not hold the commit.
    """
    if shutil.which("git") is None:
        raise Invalid(
            "device.toml asks for a signed commit, and this machine has no 'git': install it"
        )
    kind = "sha256" if len(commit) == 64 else "sha1"
    made = _run(
        ["git", "init", "-q", "--bare", f"--object-format={kind}", str(repository)],
        None,
        pack.parent,
    )
    if made.returncode != 0:
        raise Invalid(f"no repository can be made on this device: {_last_words(made.stderr)}")
    command = ["git", f"--git-dir={repository}", "index-pack", "--stdin"]
    limit = f"--max-input-size={_MOST_PACK}"
    with pack.open("rb") as stream:
        done = _run([*command, limit], stream.fileno(), repository)
    found = SignedCommit(repository, commit)
    there = found._git("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0
    if done.returncode != 0 or not there:
        words = _last_words(done.stderr)
        raise Invalid(
            f"the pack of commit {commit[:12]} does not hold it: {words or 'other objects'}"
        )
    return found


def differences(built: bytes, bundle: Path) -> list[str]:
    """The names of what one has and the other has not, or not so."""
    ours, theirs = _contents(BytesIO(built)), _contents(bundle)
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def _contents(file: BytesIO | Path) -> dict[str, str]:
    try:
        with zipfile.ZipFile(file) as archive:
            check_entries(archive)
            return {
                entry.filename: hashlib.sha256(archive.read(entry)).hexdigest()
                for entry in archive.infolist()
                if not entry.is_dir()
            }
    except zipfile.BadZipFile as error:
        raise Invalid(f"the app bundle is no readable zip file: {error}") from None


def _beside(manifest: Manifest, root: Path) -> list[str]:
    """The folders outside of the app's own that its code lies in, from the top of the repository."""
    top = root.resolve()
    named = [*manifest.folders, *([manifest.workdir] if manifest.workdir else [])]
    outside = [folder for folder in named if not folder.is_relative_to(manifest.app_dir)]
    if any(not folder.is_relative_to(top) for folder in outside):
        raise Invalid("[tool.fedops] path and workdir of the app lead out of its repository")
    return [folder.relative_to(top).as_posix() for folder in outside]


def _refuse_links_out(folder: Path) -> None:
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            name = path.relative_to(folder)
            raise Invalid(f"the commit holds '{name}', a symbolic link that leads out of it")


def _run(
    command: Sequence[str], stdin: int | None, cwd: Path
) -> subprocess.CompletedProcess[bytes]:
    """Git, without what this machine has configured for it: only the owner's file counts."""
    alone = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    env = {k: v for k, v in clean_env().items() if not k.startswith("GIT_")} | alone
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
            env=env,
            cwd=cwd,
        )
    except subprocess.TimeoutExpired:
        raise Invalid(f"'git' did not end within {_SECONDS:.0f} s") from None


def _last_words(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
