"""One module a command, or a group of them; ``cli.main`` loads each when it is called."""
