"""What happened, for people; and notices of it for who waits."""
