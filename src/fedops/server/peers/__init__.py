"""Several Server Managers on one PostgreSQL: what one commits, the others hear; one of them leads."""
