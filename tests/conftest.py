"""Before anything imports numpy: sums in one order, and no more threads than there are cores for."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
