"""Explanations of a model's predictions, on the device that has the data.

Where to begin: ``start`` opens an ``explainer`` as ``[xai]`` asks (``options``); ``background`` runs it
beside training.

    what is explained   probes (the samples), workbench (the model), forward (its scores), layers
    methods for images  base, methods (by name), cam, gradients, perturbation; put to work in maps, imaging
    and for tables      tabular, tables
    is it any good      faithfulness, quality
    over the rounds     archive, drift; timing keeps all of it short
    for people          sheet, album, bars (pictures), report
"""
