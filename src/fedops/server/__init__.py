"""The Server Manager, from top to bottom; a package imports only what stands below it.

main, http_server, app, file_server, assembly   the programs, put together
api, dashboard, blob_app                        what callers see: calls, pages, files
services, peers                                 what they work with; other Server Managers
jobs                                            what happens without a call: FL servers, time limits
rounds                                          what an attempt's engine asks and reports
runs, tasks, devices, models, assignments       what there is, and how its state changes
telemetry, access, events                       what was reported, tokens, the event log
database, protocol                              tables and transactions; what callers agree on
tls                                             the server's certificate and its authority
"""
