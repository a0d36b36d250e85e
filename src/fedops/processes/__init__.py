"""Processes: children, tied to us and ended as whole trees; what is said over a pipe, and logged."""
