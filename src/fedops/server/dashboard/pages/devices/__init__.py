"""Devices: the list, one device, the way in."""
