"""The training client: a process with the app's framework, which does the work that it is handed."""
