"""What an operator may do with the sources of tasks and the commits that are found there."""

from __future__ import annotations

from fedops.api_client.transport import Client
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorDelivery(Client):
    """Code on its way from Git to devices."""

    def set_source(self, task: str, body: c.SourceSet) -> c.SourceRead:
        """Where the code of a task comes from, from now on. The server looks at it at once.

        ``NotFound`` when there is no such task, ``Conflict`` once it is archived, ``Invalid`` for what Git
        cannot reach and for a URL with a password in it.

        >>> body = c.SourceSet(url="https://git.example.org/mnist.git", ref="main", subfolder="app")
        >>> found = operator.set_source("mnist", body)
        >>> found.url, found.commit
        ('https://git.example.org/mnist.git', None)
        """
        return self._call(c.SourceRead, "PUT", f"/tasks/{require_name(task)}/source", body)

    def look_at_source(self, task: str) -> c.SourceRead:
        """The source as it is known, which the server looks at now.

        ``NotFound`` when there is no such task or it has no source.

        >>> made = operator.set_source("mnist", c.SourceSet(url="git@git.example.org:mnist.git"))
        >>> operator.look_at_source("mnist") == made
        True
        """
        return self._call(c.SourceRead, "POST", f"/tasks/{require_name(task)}/source/look")

    def remove_source(self, task: str) -> c.TaskRead:
        """The task, which keeps the code that it has. ``NotFound`` when it has no source.

        >>> made = operator.set_source("mnist", c.SourceSet(url="git@git.example.org:mnist.git"))
        >>> operator.remove_source("mnist").name
        'mnist'
        """
        return self._call(c.TaskRead, "POST", f"/tasks/{require_name(task)}/source/remove")

    def hook_secret(self, task: str) -> c.HookSecret:
        """The URL and the secret that a Git host calls the server with. ``NotFound``: there is no source.

        >>> made = operator.set_source("mnist", c.SourceSet(url="git@git.example.org:mnist.git"))
        >>> found = operator.hook_secret("mnist")
        >>> found.url.endswith("/api/v1/hooks/git/mnist"), len(found.secret)
        (True, 64)
        """
        return self._call(c.HookSecret, "GET", f"/tasks/{require_name(task)}/source/hook")

    def commits(self, task: str, *, limit: int = 50) -> list[c.CommitRead]:
        """The commits that were found in a task's source, the newest first. ``NotFound``: there is no task.

        >>> [one.status.value for one in operator.commits("mnist")]
        ['sound']
        """
        return self._list(c.CommitRead, f"/tasks/{require_name(task)}/commits", limit=limit)

    def check_commit(self, task: str, commit: str) -> c.CommitRead:
        """The commit (its name, or the beginning of it), which is checked once more.

        ``NotFound`` when there is none, ``Conflict`` when it was neither refused nor skipped.

        >>> operator.check_commit("digits", "0123abc")
        Traceback (most recent call last):
        ...
        fedops.core.errors.NotFound: task 'digits' has no commit '0123abc'; the newest are: none yet
        """
        path = f"/tasks/{require_name(task)}/commits/{commit}/check"
        return self._call(c.CommitRead, "POST", path)
