"""``fedops demo``: a federation of real processes on this machine, and how it is shown."""
