"""What pages show of runs with many devices: written when a round is committed, read without its clients' rows."""
