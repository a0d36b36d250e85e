"""FLScalize: an existing project as a federated one, without an edit. No server, no Flower.

discovery   ``fedops init``: what a project's source says, without running a line of it
check       ``fedops check``: an app tried in a process of its own
flow        an app's own functions: found, given their arguments, called, their results read
script      a project's own command as the training of a round
observing   a run of such a command, watched from inside
adapter     what an adapter of a framework promises, and the checks of it
frameworks  the adapters of PyTorch, Hugging Face, Keras and scikit-learn
bundle      what of an app travels to the devices
"""
