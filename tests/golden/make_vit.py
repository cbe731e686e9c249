# SPDX-License-Identifier: Apache-2.0
"""Writes vit.h5: two small vision transformers with timm's tensor names and formulas, their
embeddings of global and local crops, and the gradient of sum(embedding dy) over both groups, in
double precision from float32 weights.

    python3 tests/golden/make_vit.py tests/golden/vit.h5
"""
import sys

import h5py
import torch
import torch.nn.functional as F

EPS, WIDTH, HEADS, HIDDEN, CHANNELS, PATCH, SIZE, LOCAL = 1e-6, 12, 3, 20, 2, 4, 16, 8


def parameters(registers, mean_pool, head):
    grid = SIZE // PATCH
    shapes = {"patch_embed.proj.weight": (WIDTH, CHANNELS, PATCH, PATCH),
              "patch_embed.proj.bias": (WIDTH,),
              "pos_embed": (1, 1 + registers + grid * grid, WIDTH), "cls_token": (1, 1, WIDTH)}
    if registers:
        shapes["reg_token"] = (1, registers, WIDTH)
    for b in ("blocks.0.", "blocks.1."):
        for norm in ("norm1", "norm2"):
            shapes[b + norm + ".weight"] = shapes[b + norm + ".bias"] = (WIDTH,)
        for name, out, width in (("attn.qkv", 3 * WIDTH, WIDTH), ("attn.proj", WIDTH, WIDTH),
                                 ("mlp.fc1", HIDDEN, WIDTH), ("mlp.fc2", WIDTH, HIDDEN)):
            shapes[b + name + ".weight"], shapes[b + name + ".bias"] = (out, width), (out,)
    last = "fc_norm" if mean_pool else "norm"
    shapes[last + ".weight"] = shapes[last + ".bias"] = (WIDTH,)
    if head:
        shapes["head.weight"], shapes["head.bias"] = (head, WIDTH), (head,)
    return shapes


def norm(x, p, name):
    return F.layer_norm(x, (WIDTH,), p[name + ".weight"], p[name + ".bias"], EPS)


def linear(x, p, name):
    return F.linear(x, p[name + ".weight"], p[name + ".bias"])


def attention(x, p, b):
    n, t, c = x.shape
    qkv = linear(x, p, b + "attn.qkv").reshape(n, t, 3, HEADS, c // HEADS)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    a = (q @ k.transpose(-2, -1) * (c // HEADS) ** -0.5).softmax(-1)
    return linear((a @ v).transpose(1, 2).reshape(n, t, c), p, b + "attn.proj")


def vit(x, p, registers, mean_pool, head):
    x = F.conv2d(x, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=PATCH)
    grid, grid0, prefix = tuple(x.shape[2:]), SIZE // PATCH, 1 + registers
    x = x.flatten(2).transpose(1, 2)
    pos = p["pos_embed"][:, prefix:].reshape(1, grid0, grid0, -1).permute(0, 3, 1, 2)
    if grid != (grid0, grid0):
        pos = F.interpolate(pos, size=grid, mode="bicubic", antialias=True)
    pos = torch.cat([p["pos_embed"][:, :prefix], pos.permute(0, 2, 3, 1).flatten(1, 2)], 1)
    first = [p["cls_token"]] + ([p["reg_token"]] if registers else [])
    x = torch.cat([f.expand(len(x), -1, -1) for f in first] + [x], 1) + pos
    for b in ("blocks.0.", "blocks.1."):
        x = x + attention(norm(x, p, b + "norm1"), p, b)
        x = x + linear(F.gelu(linear(norm(x, p, b + "norm2"), p, b + "mlp.fc1")), p, b + "mlp.fc2")
    x = norm(x[:, prefix:].mean(1), p, "fc_norm") if mean_pool else norm(x, p, "norm")[:, 0]
    return linear(x, p, "head") if head else x


with h5py.File(sys.argv[1], "w") as f:
    for group, args in {"class": (0, False, 0), "mean": (2, True, 5)}.items():
        torch.manual_seed(2)
        p = {n: (0.3 * torch.randn(s) + n.endswith("norm.weight")).double().requires_grad_()
             for n, s in parameters(*args).items()}
        x = [torch.randn(n, CHANNELS, s, s).double() for n, s in ((3, SIZE), (4, LOCAL))]
        y = [vit(v, p, *args) for v in x]
        dy = [torch.randn(v.shape).double() for v in y]
        sum((a * b).sum() for a, b in zip(y, dy)).backward()
        g = f.create_group(group)
        for i, part in enumerate(("global", "local")):
            for name, v in (("x", x), ("y", y), ("dy", dy)):
                g[f"{part}/{name}"] = v[i].detach().float().numpy()
        for n, v in p.items():
            g[f"weight/{n}"], g[f"gradient/{n}"] = (v.detach().float().numpy(),
                                                    v.grad.float().numpy())
    f.attrs["versions"] = f"torch {torch.__version__}"
