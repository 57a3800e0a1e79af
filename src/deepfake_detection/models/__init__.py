"""Reasons behind verdicts: which part of a picture speaks for fake."""
