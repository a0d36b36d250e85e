"""What pages show of runs with many devices: written at a round's commit, read without its clients' rows."""
