"""What of an app travels to the devices, and what of its config must not."""
