"""Commands that show what was found out about runs."""
