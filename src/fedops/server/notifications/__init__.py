"""Telling people what happens: channels, rules, messages, and how they are sent."""
