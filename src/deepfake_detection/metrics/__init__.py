"""How detectors are scored: predictions, metrics and their intervals, threshold and temperature."""
