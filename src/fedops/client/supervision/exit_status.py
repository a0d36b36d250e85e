"""Why a process ended, in a sentence its user can act on."""

from __future__ import annotations

import signal
from collections.abc import Sequence

#: By name: not every system has all of them.
_BY_SIGNAL = {
    "SIGKILL": "it was killed, probably because memory ran out: use a smaller batch_size or model, "
    "or set memory_mb in device.toml",
    "SIGSEGV": "it crashed in native code (SIGSEGV): is a library built for another machine?",
    "SIGILL": "it met an instruction this CPU does not have (SIGILL): a library is built for another",
    "SIGBUS": "it crashed in native code (SIGBUS): is the disk or shared memory full?",
    "SIGABRT": "it aborted itself (SIGABRT)",
}


def why_ended(code: int, last_lines: Sequence[str]) -> str:
    """``code`` as ``Popen.returncode`` gives it; ``last_lines`` of what the process printed."""
    number = -code if code < 0 else code - 128 if code > 128 else 0
    words = _last_words(last_lines)
    if number:
        try:
            name = signal.Signals(number).name
        except ValueError:
            return f"it was ended by signal {number}{words}"
        if name == "SIGKILL":
            return _BY_SIGNAL[name]
        return _BY_SIGNAL.get(name, f"it was ended by {name}") + words
    if code == 0:
        return f"it ended by itself{words}"
    return f"it ended with code {code}{words}"


def _last_words(lines: Sequence[str]) -> str:
    """The line that says most: of a traceback the last one, which names the exception."""
    shown = [line.strip() for line in lines if line.strip()]
    return f": {shown[-1]}" if shown else ", without a word"
