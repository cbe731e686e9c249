# SPDX-License-Identifier: Apache-2.0
"""Writes probe.h5: a small classification problem and what scikit-learn's logistic regression makes
of it. scikit-learn minimises C sum(cross-entropy) + 1/2 |W|^2; ours is mean(cross-entropy) +
l2/2 |W|^2, so C = 1 / (l2 rows). Then the same with one row of ten held out, for each l2 of a grid.

    python3 tests/golden/make_probe.py tests/golden/probe.h5
"""
import sys

import h5py
import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

L2 = 0.01
rng = np.random.default_rng(7)
centres = rng.normal(size=(4, 6)) * 1.2
labels = np.array([3, 5, -2, 900], dtype=np.int32)[rng.integers(0, 4, size=353)]
index = np.searchsorted([-2, 3, 5, 900], labels)
x = (centres[index] + rng.normal(size=(353, 6))) * [1, 10, 0.1, 3, 1, 1] + [0, 5, 0, -7, 0, 100]
x = np.concatenate([x, np.full((353, 1), 0.1)], axis=1).astype(np.float32)  # one constant feature
train, test = x[:253], x[253:]
mean = train.astype(np.float64).mean(axis=0)
deviation = train.astype(np.float64).std(axis=0)
deviation[6] = np.inf
standard = lambda a: (a.astype(np.float64) - mean) / deviation
model = LogisticRegression(C=1 / (L2 * 253), tol=1e-10, max_iter=10000, solver="lbfgs")
model.fit(standard(train), labels[:253])
p = model.predict_proba(standard(train))
chosen = p[np.arange(253), index[:253]]
loss = -np.log(chosen).mean() + L2 / 2 * (model.coef_**2).sum()
predicted = model.predict(standard(test)).astype(np.int32)
margins = np.sort(model.decision_function(standard(test)), axis=1)
print("loss", loss, "accuracy", (predicted == labels[253:]).mean(),
      "smallest margin", (margins[:, -1] - margins[:, -2]).min())
known = np.arange(253) % 10 != 3
grid = [1, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5]
held_out_right, known_loss = [], []
for l2 in grid:
    model = LogisticRegression(C=1 / (l2 * known.sum()), tol=1e-12, max_iter=10000)
    model.fit(standard(train[known]), labels[:253][known])
    held_out_right.append((model.predict(standard(train[~known])) == labels[:253][~known]).sum())
    chosen = model.predict_proba(standard(train[known]))[np.arange(known.sum()), index[:253][known]]
    known_loss.append(-np.log(chosen).mean() + l2 / 2 * (model.coef_**2).sum())
    margins = np.sort(model.decision_function(standard(train[~known])), axis=1)
    print(l2, held_out_right[-1], known_loss[-1], (margins[:, -1] - margins[:, -2]).min())
with h5py.File(sys.argv[1], "w") as f:
    f["train"], f["test"] = train, test
    f["train_labels"], f["test_labels"] = labels[:253], labels[253:]
    f["predicted"] = predicted
    f["loss"] = np.float64(loss)
    f["known"] = known.astype(np.uint8)
    f["held_out_right"], f["known_loss"] = held_out_right, known_loss
    f.attrs["l2"] = L2
    f.attrs["versions"] = f"scikit-learn {sklearn.__version__}, numpy {np.__version__}"
