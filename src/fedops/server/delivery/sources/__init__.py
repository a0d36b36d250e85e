"""The sources of tasks: set by people, looked at by the server, told of new commits by Git hosts."""
