"""``fedops ci``: the command, and its findings in the forms that CI systems read."""
