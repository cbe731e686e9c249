# SPDX-License-Identifier: Apache-2.0
"""Writes sigreg.h5: slices from PyTorch's CPU generator (seed 0) and the LeJEPA loss of a small
batch z[v][n][d] = sin(0.7 n + 1.3 d + 0.4 v) with its gradient by autograd, in double precision and
from the full 17-knot grids as published.

    python3 tests/golden/make_sigreg.py tests/golden/sigreg.h5
"""
import sys

import h5py
import numpy as np
import torch

V, N, K, M, LAMBDA = 2, 6, 4, 8, 0.05
torch.manual_seed(0)
slices = torch.randn(K, M)


def grid(name):
    t = torch.linspace(0, 3, 17, dtype=torch.float64) if name == "a" else \
        torch.linspace(-5, 5, 17, dtype=torch.float64)
    step = float(t[1] - t[0])
    w = torch.full((17,), 2 * step if name == "a" else step, dtype=torch.float64)
    w[0] = w[-1] = step if name == "a" else step / 2
    return t, w * torch.exp(-t * t / 2)


def sigreg(z, a, name):
    t, w = grid(name)
    angle = (z @ a)[..., None] * t  # (V, N, M, T)
    c, s = angle.cos().mean(1), angle.sin().mean(1)
    return (N * (w * ((c - torch.exp(-t * t / 2)) ** 2 + s ** 2)).sum(-1)).mean()


n, d, v = (torch.arange(k, dtype=torch.float64) for k in (N, K, V))
z = torch.sin(0.7 * n[None, :, None] + 1.3 * d + 0.4 * v[:, None, None]).float()
a = slices.double()
a = a / a.norm(dim=0)
with h5py.File(sys.argv[1], "w") as f:
    f["slices"], f["z"] = slices.numpy(), z.numpy()
    for name in "ab":
        for centre in (1, 2):
            x = z.double().requires_grad_()
            prediction = ((x - x[:centre].mean(0)) ** 2).mean()
            value = sigreg(x, a, name)
            total = LAMBDA * value + (1 - LAMBDA) * prediction
            total.backward()
            g = f.create_group(f"{name}{centre}")
            g["terms"] = np.array([total.item(), prediction.item(), value.item()])
            g["gradient"] = x.grad.numpy()
            print(name, centre, g["terms"][...], x.grad[0, 0, 0].item())
    f.attrs["versions"] = f"torch {torch.__version__}"
