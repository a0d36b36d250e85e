"""The dashboard: pages rendered here (``pages``), kept up to date by a WebSocket each (``live``)."""
