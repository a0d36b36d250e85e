"""A run of a project's own command, watched from inside by hooks that only record, or put a model in.

``injected`` is what goes into the command's interpreter: the standard library and what the project itself
imported, of whatever age. Everything else here is the side that starts it and reads what was seen.
"""
