"""What the machine is doing, measured."""
