"""What pages show of runs with many devices, kept when a round is committed, and read without its clients."""
