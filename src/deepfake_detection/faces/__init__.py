"""Faces out of videos and photographs: frames, face detection, tracks, crops."""
