"""What updates were worth, as it is stored and read."""
