# SPDX-License-Identifier: Apache-2.0
"""Writes layers.h5: inputs, parameters, outputs and gradients of single layers by PyTorch, computed
in double precision from float32 inputs. Groups are the names in tests/nn/layer_cases.c.

    python3 tests/golden/make_layers.py tests/golden/layers.h5
"""
import sys

import h5py
import torch
import torch.nn.functional as F
from torch.nn.utils.stateless import functional_call

torch.manual_seed(1)


def attention(heads):
    def forward(x):
        b, t, c = x.shape
        q, k, v = x.reshape(b, t, 3, heads, c // 3 // heads).permute(2, 0, 3, 1, 4)
        p = ((q @ k.transpose(-2, -1)) * (c // 3 // heads) ** -0.5).softmax(-1)
        return (p @ v).transpose(1, 2).reshape(b, t, c // 3)
    return forward


def tokens(grid0, grid, registers):
    def forward(x, pos, cls, reg=None):
        n = 1 + registers
        patches = pos[:, n:].reshape(1, *grid0, -1).permute(0, 3, 1, 2)
        if grid != grid0:
            patches = F.interpolate(patches, size=grid, mode="bicubic", antialias=True,
                                    align_corners=False)
        patches = patches.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1)
        prefix = [cls] + ([reg] if registers else [])
        x = torch.cat([p.expand(len(x), -1, -1) for p in prefix] + [x], 1)
        return x + torch.cat([pos[:, :n], patches], 1)
    return forward


def tokens_params(grid0, registers, width):
    shapes = [(1, 1 + registers + grid0[0] * grid0[1], width), (1, 1, width)]
    return shapes + ([(1, registers, width)] if registers else [])


def batchnorm(x, weight, bias):
    """Channels last: of (N, C), (N, T, C) or (N, H, W, C) by BatchNorm1d or 2d."""
    norm = (torch.nn.BatchNorm2d if x.dim() == 4 else torch.nn.BatchNorm1d)(x.shape[-1]).double()
    return functional_call(norm, {"weight": weight, "bias": bias}, x.movedim(-1, 1)).movedim(1, -1)


def batchnorm_relu(x, weight, bias):
    return F.relu(batchnorm(x, weight, bias))


def batchnorm_residual(x, weight, bias):
    return F.relu(x + batchnorm(F.gelu(x), weight, bias))


def conv(stride, padding, planes=False, groups=1):
    """Channels last, from a map that is so, too, or from planes."""
    def forward(x, weight, bias=None):
        x = x if planes else x.movedim(-1, 1)
        return F.conv2d(x, weight, bias, stride, padding, groups=groups).movedim(1, -1)
    return forward


def pool_max(*window):
    return lambda x: F.max_pool2d(x.movedim(-1, 1), *window).movedim(1, -1)


def grn(x, weight, bias):
    norm = x.norm(dim=(1, 2), keepdim=True)
    return x + weight * (x * norm / (norm.mean(-1, keepdim=True) + 1e-6)) + bias


def cosine(x, weight):
    return F.linear(F.normalize(x, dim=-1), F.normalize(weight, dim=-1))


linear = F.linear
CASES = {
    "linear": ((2, 3, 5), [(7, 5), (7,)], linear),
    "linear_one": ((1, 1), [(1, 1), (1,)], linear),
    "layernorm": ((2, 3, 11), [(11,), (11,)], lambda x, w, b: F.layer_norm(x, (11,), w, b, 1e-6)),
    "layernorm_eps": ((3, 19), [(19,), (19,)], lambda x, w, b: F.layer_norm(x, (19,), w, b, 0.5)),
    "gelu": ((1, 4, 9), [], F.gelu),
    "relu": ((1, 4, 9), [], F.relu),
    "attention": ((2, 5, 18), [], attention(2)),
    "attention_one_token": ((1, 1, 9), [], attention(3)),
    "attention_one_head": ((1, 17, 15), [], attention(1)),
    "tokens": ((2, 9, 4), tokens_params((3, 3), 2, 4), tokens((3, 3), (3, 3), 2)),
    "tokens_smaller": ((2, 9, 4), tokens_params((5, 5), 0, 4), tokens((5, 5), (3, 3), 0)),
    "tokens_larger": ((2, 24, 3), tokens_params((2, 3), 1, 3), tokens((2, 3), (4, 6), 1)),
    "tokens_wide": ((3, 3, 4), tokens_params((2, 6), 1, 4), tokens((2, 6), (1, 3), 1)),
    "patch_embed": ((2, 2, 6, 9), [(5, 2, 3, 3), (5,)],
                    lambda x, w, b: F.conv2d(x, w, b, stride=3).flatten(2).transpose(1, 2)),
    "pool_token": ((2, 4, 5), [], lambda x: x[:, 0]),
    "pool_mean": ((2, 6, 5), [], lambda x: x[:, 2:].mean(1)),
    "batchnorm_lane": ((9, 5), [(5,), (5,)], batchnorm),
    "batchnorm_batch": ((41, 5), [(5,), (5,)], batchnorm),
    "residual": ((2, 3, 4), [], lambda x: x + F.gelu(x)),
    "linear_residual": ((2, 3, 6), [(6, 6), (6,)], lambda x, w, b: x + F.linear(F.gelu(x), w, b)),
    "linear_map": ((2, 3, 2, 5), [(7, 5), (7,)], linear),
    "layernorm_map": ((2, 2, 2, 11), [(11,), (11,)],
                      lambda x, w, b: F.layer_norm(x, (11,), w, b, 1e-6)),
    "gelu_map": ((2, 2, 3, 9), [], F.gelu),
    "relu_map": ((2, 2, 3, 9), [], F.relu),
    "residual_map": ((2, 2, 3, 4), [], lambda x: x + F.gelu(x)),
    "linear_residual_map": ((2, 3, 2, 6), [(6, 6), (6,)],
                            lambda x, w, b: x + F.linear(F.gelu(x), w, b)),
    "pool_mean_map": ((2, 3, 2, 5), [], lambda x: x.mean((1, 2))),
    "batchnorm_lane_rows": ((4, 7, 5), [(5,), (5,)], batchnorm),
    "batchnorm_lane_map": ((3, 9, 15, 3), [(3,), (3,)], batchnorm),
    "batchnorm_batch_rows": ((7, 7, 5), [(5,), (5,)], batchnorm),
    "batchnorm_batch_map": ((3, 9, 15, 3), [(3,), (3,)], batchnorm),
    "batchnorm_lane_relu": ((4, 2, 3, 5), [(5,), (5,)], batchnorm_relu),
    "batchnorm_batch_relu": ((4, 2, 3, 5), [(5,), (5,)], batchnorm_relu),
    "batchnorm_residual_lane": ((4, 2, 3, 5), [(5,), (5,)], batchnorm_residual),
    "batchnorm_residual_batch": ((4, 2, 3, 5), [(5,), (5,)], batchnorm_residual),
    "conv": ((2, 5, 6, 3), [(4, 3, 3, 3), (4,)], conv(1, 1)),
    "conv_stride": ((2, 6, 5, 4), [(5, 4, 3, 3)], conv(2, 1)),
    "conv_inside": ((1, 7, 4, 2), [(3, 2, 3, 3), (3,)], conv(1, 0)),
    "conv_large": ((1, 3, 4, 2), [(3, 2, 7, 7)], conv(3, 3)),
    "conv_even": ((2, 4, 6, 3), [(4, 3, 2, 2), (4,)], conv(2, 0)),
    "conv_point": ((2, 3, 2, 5), [(7, 5, 1, 1)], conv(1, 0)),
    "conv_point_stride": ((2, 5, 4, 5), [(6, 5, 1, 1), (6,)], conv(2, 0)),
    "conv_vectors": ((1, 2, 3, 16), [(16, 16, 3, 3)], conv(1, 1)),
    "stem": ((2, 3, 6, 5), [(4, 3, 3, 3)], conv(1, 1, planes=True)),
    "stem_stride": ((2, 2, 9, 8), [(5, 2, 7, 7), (5,)], conv(2, 3, planes=True)),
    "conv_depthwise": ((2, 4, 5, 6), [(6, 1, 3, 3), (6,)], conv(1, 1, groups=6)),
    "conv_depthwise_large": ((2, 5, 3, 17), [(17, 1, 7, 7)], conv(1, 3, groups=17)),
    "pool_max": ((2, 8, 7, 5), [], pool_max(3, 2, 1)),
    "pool_max_apart": ((3, 5, 6, 3), [], pool_max(2, 2, 0)),
    "grn": ((3, 4, 5, 7), [(7,), (7,)], grn),
    "grn_point": ((2, 1, 1, 3), [(3,), (3,)], grn),
    "concat": ((2, 3, 4), [(5, 4), (5,)], lambda x, w, b: torch.cat([x, F.linear(x, w, b)], -1)),
    "cosine": ((7, 5), [(11, 5)], cosine),
    "cosine_map": ((2, 3, 2, 6), [(4, 6)], cosine),
}

with h5py.File(sys.argv[1], "w") as f:
    for name, (shape, params, forward) in CASES.items():
        x = torch.randn(shape).double().requires_grad_()
        p = [torch.randn(s).double().requires_grad_() for s in params]
        y = forward(x, *p)
        dy = torch.randn(y.shape).double()
        (y * dy).sum().backward()
        g = f.create_group(name)
        g["x"], g["y"], g["dy"], g["dx"] = (v.detach().float().numpy() for v in (x, y, dy, x.grad))
        for i, v in enumerate(p):
            g[f"p{i}"], g[f"dp{i}"] = v.detach().float().numpy(), v.grad.float().numpy()
        if name.startswith("batchnorm"):  # what running statistics are made from
            rows = (F.gelu(x) if "residual" in name else x).detach().flatten(0, -2)
            g["dp2"] = rows.mean(0).float().numpy()
            g["dp3"] = rows.var(0, unbiased=True).float().numpy()
    f.attrs["versions"] = f"torch {torch.__version__}"
