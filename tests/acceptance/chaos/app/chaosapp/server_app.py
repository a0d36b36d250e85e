"""Flower's ServerApp: the round engine, as the Server Manager submits it."""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    from fedops.flower.apps import run_server

    run_server(grid, context)
