# SPDX-License-Identifier: Apache-2.0
"""Writes byol.h5: BYOL of small batches of predictions p (V, N, D) and targets z (G, N, D), with
the gradient at p by autograd, in double precision. Written as the published code is for one
direction (regression_loss), then averaged over pairs of a global view and another.

    python3 tests/golden/make_byol.py tests/golden/byol.h5
"""

import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

SHAPES = {"two": (2, 2, 45, 5), "crops": (5, 2, 40, 35), "one_target": (3, 1, 7, 8)}


def regression_loss(x, y):
    return 2 - 2 * (F.normalize(x, dim=-1) * F.normalize(y, dim=-1)).sum(dim=-1)


def byol(p, z):
    pairs = [(u, v) for u in range(len(z)) for v in range(len(p)) if u != v]
    return torch.stack([regression_loss(p[v], z[u].detach()).mean() for u, v in pairs]).mean()


torch.manual_seed(0)
with h5py.File(sys.argv[1], "w") as f:
    for shape, (V, G, N, D) in SHAPES.items():
        sample = torch.randn(N, D) + 0.3
        p = (sample + 0.7 * torch.randn(V, N, D)).float()
        z = (3 * sample + torch.randn(G, N, D)).float()
        x = p.double().requires_grad_()
        loss = byol(x, z.double())
        loss.backward()
        mean = F.normalize(z[0].double(), dim=-1).mean(dim=0)
        group = f.create_group(shape)
        group["predicted"] = p.numpy()
        group["averaged"] = z.numpy()
        group["terms"] = np.array([loss.item(), 1 - mean.pow(2).sum().item()])
        group["gradient"] = x.grad.numpy()
        print(shape, group["terms"][...])
    f.attrs["versions"] = f"torch {torch.__version__}"
