# SPDX-License-Identifier: Apache-2.0
"""Writes convnextv2.h5: two small networks of timm's own ConvNeXt, one with patches of 2 pixels and
linear layers in the MLP, one with its own stem, 1x1 convolutions and a head; their embeddings of
global and local crops, and the gradient of sum(embedding dy) over both groups, in double precision
from float32 weights.

    python3 tests/golden/make_convnextv2.py tests/golden/convnextv2.h5
"""
import sys

import h5py
import timm
import torch
from timm.models.convnext import ConvNeXt

WIDTH, CHANNELS = 4, 2


def convnextv2(blocks, patch, conv_mlp, head):
    net = ConvNeXt(CHANNELS, head, depths=blocks, dims=[WIDTH << stage for stage in range(4)],
                   patch_size=4, use_grn=True, ls_init_value=None, conv_mlp=conv_mlp)
    if patch == 2:  # timm's would halve the resolution again before the first stage
        net.stem[0] = torch.nn.Conv2d(CHANNELS, WIDTH, patch, patch)
    return net


def draw(name, tensor):
    if tensor.dim() > 1:
        return torch.randn(tensor.shape) * (2 / tensor[0].numel()) ** 0.5
    return 0.3 * torch.randn(tensor.shape) + (name.endswith("weight") and "grn" not in name)


def write(g, net, sizes):
    """sizes: images and pixels of each group."""
    weights = {n: draw(n, p) for n, p in net.named_parameters()}
    net.load_state_dict(weights)
    net.double()
    x = [torch.randn(n, CHANNELS, s, s).double() for n, s in sizes]
    y = [net(v) for v in x]
    dy = [torch.randn(v.shape).double() for v in y]
    sum((a * b).sum() for a, b in zip(y, dy)).backward()
    for i, part in enumerate(("global", "local")):
        for name, v in (("x", x), ("y", y), ("dy", dy)):
            g[f"{part}/{name}"] = v[i].detach().float().numpy()
    for n, p in net.named_parameters():
        g[f"weight/{n}"], g[f"gradient/{n}"] = weights[n].float().numpy(), p.grad.float().numpy()


with h5py.File(sys.argv[1], "w") as f:
    torch.manual_seed(4)
    write(f.create_group("linear"), convnextv2([1, 2, 1, 1], 2, False, 0), [(3, 32), (4, 19)])
    write(f.create_group("conv"), convnextv2([2, 1, 1, 1], 4, True, 3), [(3, 48), (4, 35)])
    f.attrs["versions"] = f"torch {torch.__version__}, timm {timm.__version__}"
