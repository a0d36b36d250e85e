"""The only room that imports Flower: its apps, its strategies, its run modes.

Lies above engine and trainer.
"""
