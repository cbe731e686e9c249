# SPDX-License-Identifier: Apache-2.0
"""Writes resnet.h5: two small ResNets of timm's own blocks, one with the stem for small images,
their embeddings of global and local crops, the gradient of sum(embedding dy) over both groups, and
the mean and unbiased variance of each group's batch, added; in double precision from float32
weights. y is made with statistics of the batch, inferred with the running ones.

    python3 tests/golden/make_resnet.py tests/golden/resnet.h5
"""
import sys

import h5py
import timm
import torch
from timm.models.resnet import BasicBlock, Bottleneck, ResNet, make_blocks
from torch import nn

WIDTH, CHANNELS = 4, 2


def resnet(block, layers, large_stem, head):
    """timm's ResNet, whose first stage always has 64 features, with WIDTH instead."""
    net = ResNet(block, layers, in_chans=CHANNELS, num_classes=head)
    widths = [WIDTH << stage for stage in range(4)]
    for name, stage in make_blocks([block] * 4, widths, layers, WIDTH)[0]:
        setattr(net, name, stage)
    net.bn1 = nn.BatchNorm2d(WIDTH)
    net.conv1 = nn.Conv2d(CHANNELS, WIDTH, 7, 2, 3, bias=False)
    if not large_stem:
        net.conv1, net.maxpool = nn.Conv2d(CHANNELS, WIDTH, 3, 1, 1, bias=False), nn.Identity()
    if head:
        net.fc = nn.Linear(widths[-1] * block.expansion, head)
    return net


def draw(name, tensor):
    if name.endswith("running_var"):
        return torch.rand(tensor.shape) + 0.5
    if tensor.dim() > 1:
        return torch.randn(tensor.shape) * (2 / tensor[0].numel()) ** 0.5
    return 0.3 * torch.randn(tensor.shape) + name.endswith("weight")


def write(g, net, sizes):
    """sizes: images and pixels of each group."""
    tracked = {n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")}
    weights = {n: draw(n, t) for n, t in tracked.items()}
    net.load_state_dict(weights, strict=False)
    net.double()
    x = [torch.randn(n, CHANNELS, s, s).double() for n, s in sizes]
    net.eval()
    with torch.no_grad():
        inferred = [net(v) for v in x]
    net.train()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.momentum = 1.0  # running statistics become those of the batch
    y, statistics = [], {}
    for v in x:
        y.append(net(v))
        for n, t in net.named_buffers():
            statistics[n] = statistics.get(n, 0) + t.clone()
    dy = [torch.randn(v.shape).double() for v in y]
    sum((a * b).sum() for a, b in zip(y, dy)).backward()
    gradients = dict(statistics, **{n: p.grad for n, p in net.named_parameters()})
    for i, part in enumerate(("global", "local")):
        for name, v in (("x", x), ("y", y), ("dy", dy), ("inferred", inferred)):
            g[f"{part}/{name}"] = v[i].detach().float().numpy()
    for n, v in weights.items():
        g[f"weight/{n}"], g[f"gradient/{n}"] = v.float().numpy(), gradients[n].float().numpy()


with h5py.File(sys.argv[1], "w") as f:
    torch.manual_seed(3)
    write(f.create_group("small"), resnet(BasicBlock, [1, 2, 1, 1], False, 0), [(5, 16), (6, 11)])
    write(f.create_group("large"), resnet(Bottleneck, [2, 1, 1, 1], True, 3), [(5, 48), (6, 33)])
    f.attrs["versions"] = f"torch {torch.__version__}, timm {timm.__version__}"
