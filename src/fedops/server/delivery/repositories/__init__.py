"""Repositories and folders as they are read: by Git and from disk, within bounds, whatever is in them."""
