# SPDX-License-Identifier: Apache-2.0
"""Writes optim.h5: ten steps of torch.optim.AdamW with a learning rate from LinearLR (start 1 %)
followed by CosineAnnealingLR, in double precision; one tensor with decay and one without.

    python3 tests/golden/make_optim.py tests/golden/optim.h5
"""
import sys
import warnings

import h5py
import numpy as np
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

warnings.filterwarnings("ignore")
PEAK, FLOOR, WARMUP, STEPS = 2e-2, 2e-5, 3, 10


def adamw(parameters):
    o = torch.optim.AdamW(parameters, lr=PEAK, betas=(0.9, 0.95), eps=1e-8)
    s = SequentialLR(o, [LinearLR(o, 0.01, total_iters=WARMUP),
                         CosineAnnealingLR(o, STEPS - WARMUP, eta_min=FLOOR)], [WARMUP])
    return o, s


torch.manual_seed(3)
w = [torch.randn(n).double().requires_grad_() for n in (37, 11)]
g = torch.randn(STEPS, 48) * torch.logspace(-4, 1, 48)
o, s = adamw([{"params": [w[0]], "weight_decay": 0.3}, {"params": [w[1]], "weight_decay": 0.0}])
with h5py.File(sys.argv[1], "w") as f:
    f["initial"] = torch.cat(w).detach().float().numpy()
    f["gradient"] = g.numpy()
    rates, weights = [], []
    for t in range(STEPS):
        w[0].grad, w[1].grad = g[t, :37].double(), g[t, 37:].double()
        rates.append(o.param_groups[0]["lr"])
        o.step()
        s.step()
        weights.append(torch.cat(w).detach().float().numpy())
    f["rates"], f["weights"] = np.array(rates), np.stack(weights)
    f.attrs["versions"] = f"torch {torch.__version__}"
    print(rates)
