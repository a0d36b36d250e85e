"""Commands about who may use the server: log in, users, tokens, the page."""
