# SPDX-License-Identifier: Apache-2.0
"""Writes spectrum.h5: correlated, skewed projections of three views, and what numpy makes of them:
figures of the covariance of all rows, the alignment of views, and the normality of each feature.

    python3 tests/golden/make_spectrum.py tests/golden/spectrum.h5
"""
import sys

import h5py
import numpy as np

SAMPLES, VIEWS, WIDTH = 150, 3, 9
rng = np.random.default_rng(11)
mixing = rng.normal(size=(WIDTH, WIDTH)) * 0.8 ** np.arange(WIDTH)
common = rng.normal(size=(SAMPLES, 1, WIDTH))
common[..., 2] = rng.exponential(size=(SAMPLES, 1)) * 2
own = rng.normal(size=(SAMPLES, VIEWS, WIDTH))
values = ((common + 0.4 * own) @ mixing + rng.normal(size=WIDTH)).astype(np.float32)

z = values.astype(np.float64)
rows = z.reshape(-1, WIDTH)
covariance = np.cov(rows.T, bias=True)
eigenvalues = np.linalg.eigvalsh(covariance)[::-1]
singular = np.linalg.svd(rows - rows.mean(0), compute_uv=False)
off = np.abs(covariance - np.diag(np.diag(covariance)))
pair = sorted(np.unravel_index(off.argmax(), off.shape))


def entropy_rank(x):
    p = x / x.sum()
    return np.exp(-(p * np.log(p)).sum())


def epps_pulley(x):
    """(samples, views, width): each view by itself, 17 knots on [0, 3], trapezoids, even in t."""
    t = np.linspace(0, 3, 17)
    phi = np.exp(-t * t / 2)
    angle = x[..., None] * t
    difference = (np.cos(angle).mean(0) - phi) ** 2 + np.sin(angle).mean(0) ** 2
    return len(x) * 2 * np.trapz(difference * phi, t, axis=-1).mean(0)


within = ((z - z.mean(1, keepdims=True)) ** 2).sum()
standard = (rows - rows.mean(0)) / rows.std(0)
figures = {
    "effective_rank": entropy_rank(eigenvalues),
    "rankme": entropy_rank(singular),
    "participation": eigenvalues.sum() ** 2 / (eigenvalues**2).sum(),
    "condition": eigenvalues[0] / eigenvalues[-1],
    "trace": np.trace(covariance),
    "mean_norm": np.linalg.norm(rows.mean(0)),
    "offdiagonal": covariance[pair[0], pair[1]],
    "alignment": within / ((rows - rows.mean(0)) ** 2).sum(),
}
with h5py.File(sys.argv[1], "w") as f:
    f["values"] = values
    f["eigenvalues"] = eigenvalues
    f["offdiagonal_of"] = np.array(pair, dtype=np.int64)
    for name, value in figures.items():
        f[name] = np.float64(value)
    f["mean"] = rows.mean(0)
    f["variance"] = rows.var(0)
    f["skewness"] = (standard**3).mean(0)
    f["kurtosis"] = (standard**4).mean(0) - 3
    f["statistic"] = epps_pulley(z)
    f.attrs["versions"] = f"numpy {np.__version__}, h5py {h5py.__version__}"
print(figures, pair)
