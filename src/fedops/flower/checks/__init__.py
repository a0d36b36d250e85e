"""Questions about an app, a config or a commit that a process of their own answers."""
