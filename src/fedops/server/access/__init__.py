"""Who may do what: users and their tokens, signing in, and the table of routes and roles."""
