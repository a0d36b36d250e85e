"""The model for the owner's own programs: a file in a folder, and a command when it is a new one."""
