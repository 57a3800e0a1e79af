"""Images: reading and measuring them, the image index, splits, duplicates and the pixel cache.

The package does not import PyTorch, so that processes which decode pictures start fast.
"""
