"""Command lines: how programs begin and end, and what their arguments may be."""
