"""A static look at the source of a project: its files, what they define, call and set."""
