"""The model on its way to the devices that serve it: what they say of it, and how that is shown."""
