# SPDX-License-Identifier: Apache-2.0
"""Writes vicreg.h5: VICReg of small batches z (V, N, D), with its gradient by autograd, in double
precision. Written as the published code is for one pair of views (mse_loss, var, off-diagonal),
then averaged over pairs and views. The deviations lie on both sides of the hinge; the means are not
0.

    python3 tests/golden/make_vicreg.py tests/golden/vicreg.h5
"""
import itertools
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

WEIGHTS = {"paper": (25.0, 25.0, 1.0), "other": (2.0, 3.0, 5.0)}
SHAPES = {"two": (2, 45, 5), "three": (3, 40, 35)}


def off_diagonal(c):
    return c - torch.diag(torch.diagonal(c))


def vicreg(z):
    pairs = itertools.combinations(range(len(z)), 2)
    invariance = torch.stack([F.mse_loss(z[u], z[v]) for u, v in pairs]).mean()
    variance, covariance = [], []
    for x in z:
        x = x - x.mean(dim=0)
        variance.append(F.relu(1 - torch.sqrt(x.var(dim=0) + 1e-4)).mean())
        covariance.append(off_diagonal(x.T @ x / (len(x) - 1)).pow(2).sum() / x.shape[1])
    return invariance, torch.stack(variance).mean(), torch.stack(covariance).mean()


torch.manual_seed(0)
with h5py.File(sys.argv[1], "w") as f:
    for shape, (V, N, D) in SHAPES.items():
        sample = torch.randn(N, D) @ torch.randn(D, D) / D**0.5
        z = (0.4 + sample * torch.linspace(0.2, 1.8, D) + 0.3 * torch.randn(V, N, D)).float()
        f[f"{shape}/z"] = z.numpy()
        for name, weights in WEIGHTS.items():
            x = z.double().requires_grad_()
            terms = vicreg(x)
            loss = sum(w * t for w, t in zip(weights, terms))
            loss.backward()
            g = f.create_group(f"{shape}/{name}")
            g["weights"] = np.array(weights)
            g["terms"] = np.array([loss.item(), *(t.item() for t in terms)])
            g["gradient"] = x.grad.numpy()
            print(shape, name, g["terms"][...])
    f.attrs["versions"] = f"torch {torch.__version__}"
