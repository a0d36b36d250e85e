"""Between the processes of one device: the local HTTP port, the orders, the pipe of reports, the status."""
