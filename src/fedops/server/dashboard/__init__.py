"""The page of the Server Manager (``overview_page``), behind a gate (``page_gate``) and ``sign_in_page``."""
