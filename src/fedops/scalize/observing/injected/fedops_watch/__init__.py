"""Hooks that watch a training command from inside. Standard library only, Python 3.8 or newer.

They record; with a job that says so they also put a model in, end the loop, and take the result out.
Nothing here may raise into the user's program, and what is used up is taken off.
"""
