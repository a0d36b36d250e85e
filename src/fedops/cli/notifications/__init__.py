"""Who is told of what happens, on the command line."""
