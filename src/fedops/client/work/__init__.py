"""Assignments on the device, from the offer to the delivered result."""
