"""Tables, colours and numbers of a terminal, the same in every command."""
