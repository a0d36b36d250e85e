"""``flwr run .`` on a device: its processes, and the run on Flower's own log."""
