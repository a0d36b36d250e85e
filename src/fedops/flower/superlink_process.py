"""Flower's SuperLink, in a process that gives memory back. Run as a file, followed by ``flower-superlink``.

Python looks through old objects for garbage only once there are a quarter more of them. The requests that
carried a model would lie about until then, several models high. Here that is done every second, and costs
milliseconds, since what is there at the start is left out.
"""

from __future__ import annotations

import gc
import sys
import threading

#: How often it looks for garbage. Seconds.
COLLECT_SECONDS = 1.0


def main() -> None:
    """Become the program named first, with the arguments after it."""
    sys.path.pop(0)  # the folder of this file: its modules are no top-level ones
    sys.argv.pop(0)
    import flwr.superlink.main  # noqa: F401  what the program imports later, too
    from flwr.superlink.cli import flower_superlink

    gc.collect()
    gc.freeze()
    threading.Thread(target=_collect, name="collect", daemon=True).start()
    flower_superlink()


def _collect() -> None:
    pause = threading.Event()
    while not pause.wait(COLLECT_SECONDS):
        gc.collect()


if __name__ == "__main__":
    main()
