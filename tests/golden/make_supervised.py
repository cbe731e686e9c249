# SPDX-License-Identifier: Apache-2.0
"""Writes supervised.h5: cross-entropy of logits z (V, N, K), each view an example of its sample's
class, with its gradient by autograd, in double precision; with and without label smoothing, with
and without weights. Classes are of very different sizes in the batch, and one does not occur; the
number of training rows, which weights are made of, is 1 for class 0, 2 for class 1, and so on.

    python3 tests/golden/make_supervised.py tests/golden/supervised.h5
"""
import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

SETTINGS = {  # label smoothing; weights that make classes weigh alike
    "plain": (0.0, False),
    "smooth": (0.1, False),
    "flat": (1.0, False),
    "balanced": (0.0, True),
    "smooth_balanced": (0.2, True),
}
SHAPES = {"two": (1, 45, 2), "ten": (3, 40, 10)}

torch.manual_seed(0)
with h5py.File(sys.argv[1], "w") as f:
    for shape, (V, N, K) in SHAPES.items():
        z = (3 * torch.randn(V, N, K) - 1).float()
        labels = (torch.rand(N) ** 3 * max(K - 1, 2)).long()
        f[f"{shape}/z"] = z.numpy()
        f[f"{shape}/labels"] = labels.numpy()
        for name, (smoothing, balanced) in SETTINGS.items():
            x = z.double().requires_grad_()
            rows, targets = x.reshape(V * N, K), labels.repeat(V)
            weight = (K + 1) / 2 / torch.arange(1.0, K + 1).double() if balanced else torch.ones(K)
            losses = F.cross_entropy(rows, targets, label_smoothing=smoothing, reduction="none")
            loss = (weight[targets] * losses).mean()
            loss.backward()
            top1 = (rows.argmax(dim=1) == targets).double().mean()
            g = f.create_group(f"{shape}/{name}")
            g["smoothing"] = np.array([smoothing])
            g["balanced"] = np.array([int(balanced)])
            g["terms"] = np.array([loss.item(), top1.item()])
            g["gradient"] = x.grad.numpy()
            print(shape, name, g["terms"][...])
    f.attrs["versions"] = f"torch {torch.__version__}"
