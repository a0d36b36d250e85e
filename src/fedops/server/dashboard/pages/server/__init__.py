"""The server itself: signing in, users, tokens, events, settings, notifications."""
