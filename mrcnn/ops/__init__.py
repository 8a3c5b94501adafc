"""Formulas on arrays and tensors, without settings, layers or files."""
