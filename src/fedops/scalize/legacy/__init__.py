"""FedOps 1 projects: ``client_main.py``, ``data_preparation.py``, ``models.py``, ``conf/config.yaml``."""
