"""Hooks for torch: what holds for every loop and every library on top of it."""
