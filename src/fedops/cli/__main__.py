"""The ``fedops`` command from its first moment; ``python -m fedops.cli`` is that of this interpreter."""

from __future__ import annotations

import signal

from fedops.processes.first_process import end_on_sigterm


def main() -> None:
    """Load the command line and run it. Ctrl-C while it is loaded ends it in silence: nothing has begun."""
    end_on_sigterm()
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fedops.cli.main import main as run

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
