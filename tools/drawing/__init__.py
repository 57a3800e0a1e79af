"""Draws portraits of invented people from a random seed."""
