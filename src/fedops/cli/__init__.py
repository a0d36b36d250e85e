"""The command ``fedops``: each command calls the API client, or runs one of the programs.

Uses everything below.
"""
