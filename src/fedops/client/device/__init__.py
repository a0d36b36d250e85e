"""What a device keeps: its folder, identity and settings, and how it joins."""
