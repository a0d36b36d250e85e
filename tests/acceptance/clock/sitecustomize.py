"""First on a process's ``PYTHONPATH`` it puts that process's clock ``CLOCK_SHIFT`` seconds off."""

import os
import time

_SHIFT = float(os.environ.get("CLOCK_SHIFT", "0"))
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + _SHIFT
time.time_ns = lambda: _time_ns() + int(_SHIFT * 1e9)
