"""Test files on several processes, also when one of the processes dies.

With pytest-xdist 3.8.0 the run may then wait for ever: a process begins with a test only once it knows the
next, and the one that comes in place of another is given a single file, be it of one test. The files that
the dead one had finished are handed out again, with nothing to do, and whoever gets one asks for no more.
The test that it died in is made again, and where that goes well, it is not among those that failed last.
"""

import contextlib
from collections.abc import Sequence

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController


class FileSchedule(LoadFileScheduling):
    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Whoever comes later gets a file here, and another in `schedule`, which is called next."""
        came_later = self.collection is not None
        super().add_node_collection(node, collection)
        if came_later:
            self._reschedule(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """The test that it died in, which has failed; what it had not begun is for the others."""
        files = self.assigned_work.pop(node)
        left = [
            (file, test)
            for file, tests in files.items()
            for test, made in tests.items()
            if not made
        ]
        if not left:
            return None
        file, died_in = left[0]
        files[file][died_in] = True
        self.workqueue.update(
            {file: tests for file, tests in files.items() if not all(tests.values())}
        )
        for other in self.nodes:
            self._reschedule(other)
        return died_in

    def _reschedule(self, node: WorkerController) -> None:
        """Not yet, where it still looks for the tests."""
        if node in self.registered_collections:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Who died a moment ago cannot be told: its files go to others once its end is noticed."""
        with contextlib.suppress(OSError):
            super()._assign_work_unit(node)
