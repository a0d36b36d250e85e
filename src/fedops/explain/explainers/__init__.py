"""Explanations of images and of tables: samples, options, reports."""
