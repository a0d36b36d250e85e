"""The Server Manager. From bottom to top: what the server keeps, what it decides, what it serves."""
