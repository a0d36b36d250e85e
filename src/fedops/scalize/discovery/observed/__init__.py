"""From one watched run of a project's own command to an app: what is proposed, asked and written."""
