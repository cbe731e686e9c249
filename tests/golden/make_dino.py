# SPDX-License-Identifier: Apache-2.0
"""Writes dino.h5: loss, entropy and spread of cosines s (V, N, K) of a student and t (G, N, K) of a
teacher in the second step of a training, with the centre that the first has left, and the gradient
at s by autograd, in double precision. The loss is that of algorithm 1 of the paper (Caron et al.
2021), over pairs of a global view and another; the temperature of the teacher is warmed up as its
appendix says.

    python3 tests/golden/make_dino.py tests/golden/dino.h5
"""

import sys

import h5py
import numpy as np
import torch
import torch.nn.functional as F

SHAPES = {"two": (2, 2, 45, 5), "crops": (5, 2, 40, 35), "one_target": (3, 1, 7, 64)}
STUDENT, TEACHER, WARMUP = 0.1, 0.07, 0.04  # temperatures
WARMUP_STEPS, MOMENTUM = 4, 0.9


def entropy(t, s):
    """H(t, s) of distributions and logarithms of distributions."""
    return -(t * s).sum(dim=-1).mean()


class Teacher(torch.nn.Module):
    """What a teacher's outputs become: centred, sharpened."""

    def __init__(self, prototypes):
        super().__init__()
        self.register_buffer("centre", torch.zeros(prototypes).double())

    def forward(self, t, step):
        temperature = np.interp(step, [0, WARMUP_STEPS], [WARMUP, TEACHER])
        return F.softmax((t.detach() - self.centre) / temperature, dim=-1)

    def update(self, t):
        mean = t.detach().flatten(0, 1).mean(dim=0)
        self.centre = MOMENTUM * self.centre + (1 - MOMENTUM) * mean


def dino(teacher, t, s, step):
    targets, predictions = teacher(t, step), F.log_softmax(s / STUDENT, dim=-1)
    pairs = [(g, v) for g in range(len(t)) for v in range(len(s)) if g != v]
    loss = torch.stack([entropy(targets[g], predictions[v]) for g, v in pairs]).mean()
    return loss, entropy(targets, targets.log())


torch.manual_seed(0)
with h5py.File(sys.argv[1], "w") as f:
    for shape, (V, G, N, K) in SHAPES.items():
        sample = 0.2 * torch.randn(N, K) + 0.1 * torch.randn(K)
        s = (sample + 0.1 * torch.randn(V, N, K)).clamp(-1, 1).float()
        t = (sample + 0.05 * torch.randn(G, N, K)).clamp(-1, 1).float()
        teacher = Teacher(K)
        teacher.update(t.double())
        x = s.double().requires_grad_()
        loss, own = dino(teacher, t.double(), x, 1)
        loss.backward()
        mean = t.double().flatten(0, 1).mean(dim=0)
        spread = 1 - mean.pow(2).sum() / t.double().pow(2).sum(dim=-1).mean()
        group = f.create_group(shape)
        group["student"] = s.numpy()
        group["teacher"] = t.numpy()
        group["terms"] = np.array([loss.item(), own.item(), spread.item()])
        group["gradient"] = x.grad.numpy()
        print(shape, group["terms"][...])
    f.attrs["versions"] = f"torch {torch.__version__}"
