"""Rules of continuous delivery: waves of devices, their gates, windows. Pure: no clock, no I/O."""
