"""Explanations of a model's predictions, on the device that has the data.

    service     an explainer at work: opened as ``[xai]`` asks, run in the background after a round
    explainers  what is explained, of images and of tables, and the report on it
    methods     Grad-CAM and the others, by name
    quality     whether an explanation is any good, and its drift over the rounds
    render      pictures for people

Imports ``config`` and ``storage``; knows neither a server nor Flower.
"""
