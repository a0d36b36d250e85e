"""Flower's ClientApp: not used by FedOps devices, but an app must have one."""

from flwr.clientapp import ClientApp

app = ClientApp()
