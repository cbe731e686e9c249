# SPDX-License-Identifier: Apache-2.0
"""Writes simclr.h5: SimCLR of small batches z (V, N, D), with its gradient by autograd, in double
precision. With two views it is NT-Xent as the cross entropy of published code, whose logits are the
cosines of a row with all others; with more, the mean of that cross entropy over the other views of
the row's sample.

    python3 tests/golden/make_simclr.py tests/golden/simclr.h5
"""
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

SHAPES = {"two": (2, 45, 5), "three": (3, 40, 35)}
TEMPERATURES = {"half": 0.5, "tenth": 0.1}


def simclr(z, temperature):
    V, N, D = z.shape
    u = F.normalize(z.reshape(V * N, D), dim=1)
    cosines = u @ u.T
    logits = (cosines / temperature).masked_fill(torch.eye(V * N, dtype=torch.bool), -torch.inf)
    sample = torch.arange(V * N) % N
    losses = [F.cross_entropy(logits, (torch.arange(V * N) + v * N) % (V * N)) for v in range(1, V)]
    positive = (sample[:, None] == sample) & ~torch.eye(V * N, dtype=torch.bool)
    negative = sample[:, None] != sample
    return torch.stack(losses).mean(), cosines[positive].mean(), cosines[negative].mean()


torch.manual_seed(0)
with h5py.File(sys.argv[1], "w") as f:
    for shape, (V, N, D) in SHAPES.items():
        sample = torch.randn(N, D) @ torch.randn(D, D) / D**0.5
        z = (0.4 + sample * torch.linspace(0.2, 1.8, D) + 0.5 * torch.randn(V, N, D)).float()
        f[f"{shape}/z"] = z.numpy()
        for name, temperature in TEMPERATURES.items():
            x = z.double().requires_grad_()
            terms = simclr(x, temperature)
            terms[0].backward()
            g = f.create_group(f"{shape}/{name}")
            g["temperature"] = np.array([temperature])
            g["terms"] = np.array([t.item() for t in terms])
            g["gradient"] = x.grad.numpy()
            print(shape, name, g["terms"][...])
    f.attrs["versions"] = f"torch {torch.__version__}"
