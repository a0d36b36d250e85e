"""A model version on this device's own data, whenever its owner asks: no round, and nothing is sent."""
