"""What the command line does with code on its way from Git to devices."""
