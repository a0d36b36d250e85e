"""Between an FL server and its Server Manager: calls that are repeated, deliveries, files, progress, logs."""
