"""Hooks in the interpreter of a watched command. Standard library only, Python 3.8 and later."""
