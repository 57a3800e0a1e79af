"""Drawing the demo's faces: portraits from a seed, and forgeries of them. They show nobody."""
