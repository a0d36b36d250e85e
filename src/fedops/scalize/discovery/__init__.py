"""``fedops init``: what a project's source says, without running a line of it."""
