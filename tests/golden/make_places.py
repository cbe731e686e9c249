# SPDX-License-Identifier: Apache-2.0
"""Writes places.h5: what small encoders of timm have in their last layers. Of each float32 weights
and images, the features of its last two layers side by side, and, of a transformer, the softmax of
its last block's attention (N, heads, T, T), all computed in double precision. The
encoders are those of tests/models/test_places.c.

    python3 tests/golden/make_places.py tests/golden/places.h5
"""
import sys

import h5py
import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer

VIT = {"img_size": 12, "patch_size": 4, "in_chans": 2, "embed_dim": 12, "depth": 3, "num_heads": 3,
       "mlp_ratio": 2}
CASES = {
    "class": (VisionTransformer(**VIT, num_classes=0), 12),
    "mean": (VisionTransformer(**VIT, reg_tokens=2, global_pool="avg", num_classes=5),
             12),
    "stages": (ConvNeXt(in_chans=2, patch_size=1, depths=(1, 1, 1, 1), dims=(4, 8, 16, 32),
                        use_grn=True, ls_init_value=None, num_classes=0), 16),
}


def of_vit(net, x):
    layers = net.forward_intermediates(x, indices=2, norm=net.global_pool == "token",
                                       output_fmt="NLC", return_prefix_tokens=True,
                                       intermediates_only=True)
    return [prefix[:, 0] if net.global_pool == "token" else net.fc_norm(patches.mean(1))
            for patches, prefix in layers]


def of_convnext(net, x):
    before, last = net.forward_intermediates(x, indices=2, intermediates_only=True)
    return [before.mean((2, 3)), net.head.norm(last.mean((2, 3), keepdim=True)).flatten(1)]


def attention_of(net, x):
    """Its softmax goes through attn_drop, which drops nothing here."""
    kept = []
    last = net.blocks[-1].attn
    last.fused_attn = False
    hook = last.attn_drop.register_forward_hook(lambda module, given, out: kept.append(out))
    net(x)
    hook.remove()
    return kept[0]


with h5py.File(sys.argv[1], "w") as f, torch.no_grad():
    for group, (net, size) in CASES.items():
        torch.manual_seed(3)
        for name, p in net.named_parameters():
            one = name.endswith("weight") and p.dim() == 1 and ".grn." not in name
            p.copy_(0.3 * torch.randn(p.shape) + one)
        weights = {name: p.clone() for name, p in net.named_parameters()}
        x = torch.randn(3, 2, size, size)
        net, pixels = net.double().eval(), x.double()
        g = f.create_group(group)
        for name, p in weights.items():
            g[f"weight/{name}"] = p.numpy()
        vit = isinstance(net, VisionTransformer)
        g["x"] = x.numpy()
        features = (of_vit if vit else of_convnext)(net, pixels)
        g["features"] = torch.cat(features, 1).float().numpy()
        if vit:
            g["attention"] = attention_of(net, pixels).float().numpy()
    f.attrs["versions"] = f"torch {torch.__version__}, timm {timm.__version__}"
