"""What stands between the network and every app of the server: who may connect, for how long, and as whom.

``connections`` and ``watched_protocol`` bound connections; ``gate`` looks at each request before its body is
read.
"""
