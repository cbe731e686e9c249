# SPDX-License-Identifier: Apache-2.0
"""A vision transformer in numpy, for images of the size that it was trained on: what its parts are
for given images, from the weights in a checkpoint."""

import math

import h5py
import numpy

ERF = numpy.vectorize(math.erf)


def load(checkpoint):
    """Weights by name, in double precision; mean and std of the pixels."""
    weights = {}
    with h5py.File(checkpoint) as file:
        file["weights"].visititems(
            lambda name, item: (
                weights.__setitem__(name, item[()].astype(float))
                if isinstance(item, h5py.Dataset)
                else None
            )
        )
        return weights, file["data/mean"][()], file["data/std"][()]


def norm(x, w, name):
    x = x - x.mean(-1, keepdims=True)
    x = x / numpy.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def tokens_of(images, w, patch):
    """(N, T, C) from images (N, H, W, channels), before the first block."""
    count, height, width, channels = images.shape
    grid = height // patch, width // patch
    x = images.reshape(count, grid[0], patch, grid[1], patch, channels)
    x = x.transpose(0, 1, 3, 5, 2, 4).reshape(count, grid[0] * grid[1], -1)
    weight = w["patch_embed.proj.weight"]
    x = x @ weight.reshape(len(weight), -1).T + w["patch_embed.proj.bias"]
    first = [w[name] for name in ("cls_token", "reg_token") if name in w]
    first = [numpy.broadcast_to(f, (count, *f.shape[1:])) for f in first]
    return numpy.concatenate([*first, x], 1) + w["pos_embed"]


def run(images, w, patch, heads):
    """Tokens (N, T, C) after the last block, and the softmax (N, heads, T, T) in it."""
    x = tokens_of(images, w, patch)
    count, tokens, width = x.shape
    depth = sum(name.endswith("attn.qkv.weight") for name in w)
    for block in (f"blocks.{i}" for i in range(depth)):
        qkv = linear(norm(x, w, f"{block}.norm1"), w, f"{block}.attn.qkv")
        q, k, v = qkv.reshape(count, tokens, 3, heads, -1).transpose(2, 0, 3, 1, 4)
        attention = numpy.exp(q @ k.swapaxes(-1, -2) / math.sqrt(width // heads))
        attention /= attention.sum(-1, keepdims=True)
        mixed = (attention @ v).transpose(0, 2, 1, 3).reshape(count, tokens, width)
        x = x + linear(mixed, w, f"{block}.attn.proj")
        hidden = linear(norm(x, w, f"{block}.norm2"), w, f"{block}.mlp.fc1")
        hidden = 0.5 * hidden * (1 + ERF(hidden / math.sqrt(2)))
        x = x + linear(hidden, w, f"{block}.mlp.fc2")
    return x, attention


def colours(tokens):
    """(rows, 3): places on the first principal axes of tokens (rows, C), two deviations to both
    sides as 0..1; the largest component of an axis is positive."""
    centred = tokens - tokens.mean(0)
    values, axes = numpy.linalg.eigh(centred.T @ centred / len(centred))
    values, axes = values[::-1][:3], axes[:, ::-1][:, :3]
    axes = axes * numpy.sign(axes[abs(axes).argmax(0), range(3)])
    return (centred @ axes / (4 * numpy.sqrt(values)) + 0.5).clip(0, 1)
