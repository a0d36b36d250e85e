"""What a device reports, kept until the server has it."""
