"""What a detector is: backbones, preprocessing, its file, scoring pictures.

Importing this package is cheap; only the modules that compute bring PyTorch with them, so that
processes which decode pictures start fast.
"""
