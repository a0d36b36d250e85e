"""A terminal that nobody sits at."""

from __future__ import annotations

import os
import subprocess
import sys

_ROWS, _COLUMNS = 24, 80
#: Each lets one reader meet the end of the file.
_ENDS = b"\x04" * 1000


def terminal_at_end() -> int:
    """For a child's stdin: a terminal of 24 x 80 at end of file; where there are none, what is empty.

    It lives as long as this process, which holds its other side.
    """
    if sys.platform == "win32":
        return subprocess.DEVNULL
    else:
        import fcntl
        import struct
        import termios

        ours, theirs = os.openpty()
        settings = termios.tcgetattr(theirs)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        os.set_blocking(ours, False)
        os.write(ours, _ENDS)
        return theirs
