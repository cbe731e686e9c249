# SPDX-License-Identifier: Apache-2.0
"""Writes step.h5: whole training steps of tiny models, in double precision from float32 weights:
global and local views -> encoder -> projector (BatchNorm1d over all rows) -> LeJEPA loss ->
backward -> AdamW, three times on the same views. Loss terms of every step, gradients of the first,
weights and running statistics after the last.

    python3 tests/golden/make_step.py tests/golden/step.h5

Loss: Balestriero & LeCun 2025 (arXiv 2511.08544 v3), Def. 2 and Algorithm 2, per view and averaged.
"""
import math
import sys

import h5py
import torch
import torch.nn as nn

import torch_vit

CHANNELS, SIZE, LOCAL, SAMPLES, SLICES, STEPS = 2, 12, 8, 5, 16, 3
VIEWS = (2, 2)  # global, local
# A large eps: gradients that are zero but for rounding (keys' biases, biases before a norm) must
# not decide the sign of an update.
ADAMW = dict(lr=1e-2, betas=(0.9, 0.95), eps=1e-3)
DECAY = 0.1

CASES = {"token": dict(vit={}, grid="a", additive=False, centre=VIEWS[0], matrices_only=False),
         "mean": dict(vit=dict(registers=2, mean_pool=True, head=12), grid="b", additive=True,
                      centre=sum(VIEWS), matrices_only=True)}
LAMBDA = 0.05


class Model(nn.Module):
    def __init__(self, options):
        super().__init__()
        self.encoder = torch_vit.VisionTransformer(CHANNELS, SIZE, patch=4, width=16, depth=2,
                                                   heads=2, hidden=24, **options)
        self.projector = torch_vit.projector(options.get("head", 16), hidden=24, out=8)

    def forward(self, views):
        return self.projector(torch.cat([self.encoder(v.flatten(0, 1)) for v in views]))

    def named_tensors(self):
        """As the program names them: the encoder has no prefix, counters are not parameters."""
        for name, value in self.state_dict(keep_vars=True).items():
            if not name.endswith("num_batches_tracked"):
                yield name.replace("encoder.", "", 1), value


def knots(grid):
    t = torch.linspace(*((0, 3) if grid == "a" else (-5, 5)), 17, dtype=torch.float64)
    weight = torch.full_like(t, float(t[1] - t[0]))
    weight[0] = weight[-1] = weight[0] / 2
    return t, weight * torch.exp(-t * t / 2) * (2 if grid == "a" else 1)


def sigreg(proj, slices, grid):
    """proj (V, N, D), slices (D, M): mean over views and slices of N sum_k w ((C - phi)^2 + S^2)"""
    t, weight = knots(grid)
    x = proj @ (slices / slices.norm(dim=0))  # (V, N, M)
    angle = x.unsqueeze(-1) * t  # (V, N, M, K)
    real = torch.cos(angle).mean(1) - torch.exp(-t * t / 2)
    imaginary = torch.sin(angle).mean(1)
    return ((real ** 2 + imaginary ** 2) @ weight * proj.shape[1]).mean()


def terms(proj, slices, case):
    prediction = ((proj - proj[:case["centre"]].mean(0)) ** 2).mean()
    regulariser = sigreg(proj, slices, case["grid"])
    keep = 1 if case["additive"] else 1 - LAMBDA
    return LAMBDA * regulariser + keep * prediction, prediction, regulariser


def optimiser(model, matrices_only):
    def is_matrix(name):
        return name.endswith("weight") and model.get_parameter(name).dim() > 1
    names = [n for n, _ in model.named_parameters()]
    groups = [dict(params=[model.get_parameter(n) for n in names if is_matrix(n) == kind],
                   weight_decay=DECAY if kind or not matrices_only else 0)
              for kind in (True, False)]
    return torch.optim.AdamW(groups, **ADAMW)


def write_case(group, case):
    torch.manual_seed(4)
    model = Model(case["vit"])
    with torch.no_grad():
        for name, p in model.named_parameters():
            one = p.dim() == 1 and name.endswith("weight")  # of a norm
            p.copy_(0.3 * torch.randn(p.shape) + one)
    views = [torch.randn(v, SAMPLES, CHANNELS, s, s) for v, s in zip(VIEWS, (SIZE, LOCAL))]
    slices = torch.randn(8, SLICES)
    for name, value in (("global", views[0]), ("local", views[1]), ("slices", slices)):
        group[name] = value.numpy()
    for name, value in model.named_tensors():
        group[f"weight/{name}"] = value.detach().numpy()

    model, views, slices = model.double(), [v.double() for v in views], slices.double()
    adamw = optimiser(model, case["matrices_only"])
    losses = []
    for step in range(STEPS):
        adamw.zero_grad()
        proj = model(views).view(sum(VIEWS), SAMPLES, -1)
        losses.append(terms(proj, slices, case))
        losses[-1][0].backward()
        if step == 0:
            for name, value in model.named_tensors():
                if value.requires_grad:
                    group[f"gradient/{name}"] = value.grad.float().numpy()
        adamw.step()
    # (steps, 3): total, prediction, SIGReg
    group["loss"] = torch.tensor(losses, dtype=torch.float64).numpy()
    for name, value in model.named_tensors():
        group[f"new/{name}"] = value.detach().float().numpy()


assert math.isclose(float(knots("a")[1].sum()), 2.4996663001, rel_tol=1e-6)
with h5py.File(sys.argv[1], "w", libver="latest") as f:
    for case_name, options in CASES.items():
        write_case(f.create_group(case_name), options)
    f.attrs["versions"] = f"torch {torch.__version__}"
