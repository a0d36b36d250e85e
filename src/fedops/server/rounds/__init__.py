"""Rounds: what an attempt's engine asks and reports, the work that devices do for it, what is kept of it."""
