"""Reliability: how well fake probabilities agree with the share of fakes.

After Murphy and Winkler 1977, with the bins of the expected calibration error (Naeini et al. 2015).
"""

import numpy as np
import pandas as pd

from deepfake_detection.metrics.intervals import interval, share_influence
from deepfake_detection.metrics.metrics import place_in_bins


def bin_reliability(scored: pd.DataFrame, bins: int, confidence: float) -> pd.DataFrame:
    """Mean fake probability and share of fakes in each bin that holds an image.

    Returns:
        A row for each bin with images: lower and upper (its edges), images, mean_probability,
        share_of_fakes, low and high (its interval between groups; NaN for a single group), all but
        images in [0, 1].
    """
    places = place_in_bins(scored["fake_probability"].to_numpy(dtype=np.float64), bins)
    rows = []
    for place, part in scored.groupby(places):
        fakes = part["label"].to_numpy(dtype=np.float64)
        influence = share_influence(fakes, np.ones(len(fakes)))
        ends = interval(float(fakes.mean()), influence, part["group"].to_numpy(), confidence)
        edges = (int(str(place)) / bins, (int(str(place)) + 1) / bins)
        rows.append(
            (*edges, len(part), float(part["fake_probability"].mean()), float(fakes.mean()), *ends)
        )
    names = ["lower", "upper", "images", "mean_probability", "share_of_fakes", "low", "high"]
    return pd.DataFrame(rows, columns=names)
