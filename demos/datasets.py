"""Real data sets that come in Python packages, so that nothing is downloaded."""

import numpy as np

from autograd.spec import Array

INSTALL = "install it with: python -m pip install 'loopgrad[data]' (in a clone: '.[data]')"


def digits() -> tuple[Array, Array] | None:
    """Return 1797 images (1797, 8, 8) from 0 to 1, and which digits they are; None without them.

    From scikit-learn: the test set of "Optical Recognition of Handwritten Digits" by E. Alpaydin
    and C. Kaynak (UCI repository, 1998), digits of 13 writers.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print(f"scikit-learn is not installed, so there are no digits; {INSTALL}")
        return None
    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target


def sunspots() -> tuple[Array, Array] | None:
    """Return years and mean numbers of sunspots, 1700 to 2008, (309,) each; None without them.

    From statsmodels: the yearly series of NOAA's National Geophysical Data Center.
    """
    try:
        from statsmodels.datasets import sunspots as found
    except ImportError:
        print(f"statsmodels is not installed, so there are no sunspots; {INSTALL}")
        return None
    data = found.load_pandas().data
    return data["YEAR"].to_numpy(int), data["SUNACTIVITY"].to_numpy(np.float64)
