"""Backbones, detectors, their files, scores and heat maps."""
