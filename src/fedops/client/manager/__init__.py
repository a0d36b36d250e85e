"""The Client Manager itself: its connection to the server, what it reports, how it starts and ends."""
