"""``fedops check``: an app tried in a process of its own, and what is wrong with it."""
