"""Heights of the tide, much simplified."""

import numpy as np

PERIOD_HOURS = 12.42


def height(hours, amplitude=1.5):
    """The height in metres above the mean, ``hours`` after high water."""
    return amplitude * np.cos(2 * np.pi * np.asarray(hours) / PERIOD_HOURS)
