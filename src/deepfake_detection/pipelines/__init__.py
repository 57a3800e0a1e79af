"""The pipelines: what the project does, from a folder of images to a report."""
