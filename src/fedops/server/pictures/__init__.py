"""What pages show of runs with many devices, kept when a round is committed: no client's row is read for it."""
