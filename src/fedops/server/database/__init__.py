"""Tables, transactions, migrations, backup, and files that the tables name. The only room that commits."""
