"""A bare mirror of a task's repository: what its ref names, and the commits that were found there."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fedops.core.errors import FedOpsError, Invalid, NotFound, Unavailable
from fedops.core.printable import printable
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.server.delivery.repositories.found import Found
from fedops.server.delivery.repositories.git_command import (
    GitAccess,
    GitFailed,
    ask_mirror,
    ask_others,
)
from fedops.server.delivery.repositories.git_errors import in_words, shown

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEPT = "refs/commits/"
_BRANCH, _TAG = "refs/heads/", "refs/tags/"
_PEELED = "^{}"
#: How a mirror is made whose names are the longer ones.
_SHA256 = "--object-format=sha256"
_NAMED = 20
_SUBJECT, _AUTHOR = 300, 200
_FETCH = (
    "fetch",
    "--quiet",
    "--force",
    "--no-tags",
    "--no-recurse-submodules",
    "--no-write-fetch-head",
    "--no-auto-gc",
)


@dataclass(frozen=True)
class GitMirror:
    """Of one task. Used by one thread of one process at a time."""

    access: GitAccess
    folder: Path

    @classmethod
    def of_task(cls, access: GitAccess, task: str) -> GitMirror:
        return cls(access, access.home / "mirrors" / f"{task}.git")

    # --- looking -------------------------------------------------------------------------------

    def look(self, url: str, ref: str, known: str | None) -> Found:
        """The commit that ``ref`` names now, fetched unless it is ``known`` and here.

        Raises:
            NotFound: there is no such repository, or no such ref in it.
            Forbidden: the repository lets the server not in.
            Unavailable: it cannot be reached, or Git is not installed.
            Invalid: it is too large.
        """
        refs = self._refs(url)
        name, commit = resolve_ref(refs, ref, url)
        self._prepare(url, next(iter(refs.values())))
        if not self.has(commit):
            self._fetch(url, name, commit)
        commit = self._peeled(commit)
        rewritten = self._was_replaced(known, commit)
        return self._described(commit, rewritten)

    def fetch_commit(self, url: str, commit: str) -> None:
        """Have a commit here that was found before. Raises as ``look`` does."""
        self._prepare(url, commit)
        if not self.has(commit):
            self._fetch(url, commit, commit)

    def has(self, commit: str) -> bool:
        """Whether the commit is here with all it needs."""
        return self._asked("rev-parse", "--verify", "--quiet", f"{_KEPT}{commit}") is not None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether ``new`` goes on from ``old``. One that is not here is no ancestor of any."""
        return self._asked("merge-base", "--is-ancestor", old, new) is not None

    def _was_replaced(self, known: str | None, commit: str) -> bool:
        """Whether the history that led to ``known`` is gone. Of what is not here nobody knows."""
        moved = known is not None and known != commit and self.has(known)
        return moved and not self.is_ancestor(str(known), commit)

    def _refs(self, url: str) -> dict[str, str]:
        try:  # apart from the mirror, whose names may be of another length
            said = ask_others(self.access, None, ("ls-remote", "--", url)).decode(errors="replace")
        except GitFailed as failed:
            raise in_words(failed.said, url) from None
        refs = {}
        for line in said.splitlines():
            commit, _, name = line.partition("\t")
            if name and _COMMIT.fullmatch(commit):
                refs[name] = commit
        return refs

    # --- fetching ------------------------------------------------------------------------------

    def _prepare(self, url: str, name: str) -> None:
        """The mirror is there, of this URL, and nothing of a fetch that was killed is left.

        ``name``: of anything in the repository. It tells how long names are there: SHA-1 or SHA-256.
        """
        marker, names = self.folder / "fedops-url", _SHA256 if len(name) == 64 else ""
        content = f"{url}\n{names}".strip()
        with contextlib.suppress(OSError):
            is_another = marker.read_text(encoding="utf-8") != content
            if is_another or self.size() > self.access.most_bytes:
                self.forget()
        if not marker.is_file():
            self.forget()
            self.folder.mkdir(parents=True, mode=0o700)
            self._must("init", "--quiet", "--bare", *filter(None, [names]))
            marker.write_text(content, encoding="utf-8")
        for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/??/tmp_*"):
            for left in self.folder.glob(pattern):
                left.unlink(missing_ok=True)

    def _fetch(self, url: str, name: str, commit: str) -> None:
        """A host that gives no commit by its number gives all its branches and tags."""
        try:
            self._fetch_all(url, f"+{name}:refs/fedops/wanted")
        except (NotFound, Unavailable):
            if name != commit:
                raise
            self._fetch_all(url, f"+{_BRANCH}*:refs/fedops/heads/*", f"+{_TAG}*:refs/fedops/tags/*")
        if self._asked("cat-file", "-e", commit) is None:
            raise NotFound(f"{shown(url)} has no commit {commit}")
        peeled = self._peeled(commit)
        for kept in {commit, peeled}:
            self._must("update-ref", f"{_KEPT}{kept}", peeled)

    def _fetch_all(self, url: str, *wanted: str) -> None:
        try:
            self._others(url, *_FETCH, "--", url, *wanted)
        except Invalid:  # too large: what came of it only takes room
            self.forget()
            raise

    def _others(self, url: str, *words: str) -> bytes:
        try:
            return ask_others(self.access, self.folder, words, grown=self.size)
        except GitFailed as failed:
            raise in_words(failed.said, url) from None

    def size(self) -> int:
        """Of its files. Bytes."""
        total = 0
        for file in self.folder.rglob("*"):
            with contextlib.suppress(OSError):  # it may go while we look
                total += file.lstat().st_size
        return total

    def forget(self) -> None:
        """Remove it. It is made again by the next look."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- reading -------------------------------------------------------------------------------

    def _peeled(self, name: str) -> str:
        """The commit behind a name or an annotated tag."""
        found = self._asked("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if found is None:
            raise Invalid(f"{name[:80]} names no commit: give a branch, a tag or a commit")
        return found.decode().strip()

    def _described(self, commit: str, rewritten: bool) -> Found:
        said = self._must(
            "log", "-1", "--no-show-signature", "--format=%an <%ae>%x00%at%x00%s", commit
        )
        author, at, subject = [*said.decode(errors="replace").split("\0", 2), "", ""][:3]
        return Found(
            commit=commit,
            subject=printable(subject.strip())[:_SUBJECT],
            author=printable(author)[:_AUTHOR],
            authored_at=float(at) if at.isdigit() else None,
            rewritten=rewritten,
        )

    def _asked(self, *words: str) -> bytes | None:
        """None: Git says no."""
        try:
            return ask_mirror(self.access, self.folder, *words)
        except GitFailed:
            return None

    def _must(self, *words: str) -> bytes:
        try:
            return ask_mirror(self.access, self.folder, *words)
        except GitFailed as failed:
            raise _broken(failed, self.folder) from None


def _broken(failed: GitFailed, folder: Path) -> FedOpsError:
    return Unavailable(
        f"the server's copy of the repository ({folder}) cannot be used: {failed.said}"
    )


def resolve_ref(refs: Mapping[str, str], ref: str, url: str) -> tuple[str, str]:
    """What to fetch for a ref of a source, and the object that it names.

    ``refs``: name -> object, as the repository lists them. ``""`` is what its HEAD names.

    Raises:
        NotFound: there is none, with those there are.
    """
    if not refs:
        raise NotFound(f"{shown(url)} has no commit yet: push one to it")
    if not ref:
        if "HEAD" not in refs:
            raise NotFound(
                f"{shown(url)} names no branch of its own{_known(refs, '')}; give one with --ref"
            )
        return "HEAD", refs["HEAD"]
    for name in (ref if ref.startswith("refs/") else "", f"{_BRANCH}{ref}", f"{_TAG}{ref}"):
        if name in refs:
            return name, refs.get(name + _PEELED, refs[name])
    if _COMMIT.fullmatch(ref):
        return ref, ref
    raise NotFound(f"{shown(url)} has no branch or tag '{printable(ref)}'{_known(refs, ref)}")


def _known(refs: Mapping[str, str], ref: str) -> str:
    names = [
        printable(name.removeprefix(kind))
        for kind in (_BRANCH, _TAG)
        for name in refs
        if name.startswith(kind) and not name.endswith(_PEELED)
    ]
    more = ", ..." if len(names) > _NAMED else ""
    return did_you_mean(ref, names) or f"; it has: {comma_list(names[:_NAMED])}{more}"
