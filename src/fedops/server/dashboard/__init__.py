"""The web page of the Server Manager (``overview_page``), behind the admin token (``sessions``)."""
