"""Continuous delivery: sources of tasks, their commits, rollouts over devices, schedules."""
