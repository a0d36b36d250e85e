"""What the updates of committed rounds were worth: planned with the commit, measured beside the next one."""
