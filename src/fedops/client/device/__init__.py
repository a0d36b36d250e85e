"""What a device keeps: its folder, identity and settings, its training's last epoch; and how it joins."""
