# SPDX-License-Identifier: Apache-2.0
"""The vision transformer and the projector out of torch.nn modules, with the tensor names of timm
and torchvision: an implementation that shares nothing with the program but the names."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class PatchEmbed(nn.Module):
    def __init__(self, channels, patch, width):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)

    def forward(self, x):
        return self.proj(x)  # (N, C, h, w)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) / (c // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(n, t, c))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), Mlp(width, hidden)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    """size: pixels of a global view; other sizes take interpolated positions."""

    def __init__(self, channels, size, patch, width, depth, heads, hidden, registers=0, head=0,
                 mean_pool=False):
        super().__init__()
        self.grid, self.prefix, self.mean_pool = size // patch, 1 + registers, mean_pool
        self.patch_embed = PatchEmbed(channels, patch, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if registers:
            self.reg_token = nn.Parameter(torch.zeros(1, registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.prefix + self.grid ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads, hidden) for _ in range(depth)))
        if mean_pool:
            self.fc_norm = nn.LayerNorm(width, eps=1e-6)
        else:
            self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, head) if head else nn.Identity()

    def positions(self, grid):
        first, rest = self.pos_embed[:, :self.prefix], self.pos_embed[:, self.prefix:]
        if grid != self.grid:
            planes = rest.transpose(1, 2).reshape(1, -1, self.grid, self.grid)
            planes = F.interpolate(planes, size=(grid, grid), mode="bicubic", antialias=True)
            rest = planes.flatten(2).transpose(1, 2)
        return torch.cat([first, rest], 1)

    def forward(self, images):
        x = self.patch_embed(images)
        grid = x.shape[-1]
        tokens = [self.cls_token.expand(len(x), -1, -1)]
        if self.prefix > 1:
            tokens.append(self.reg_token.expand(len(x), -1, -1))
        x = torch.cat(tokens + [x.flatten(2).transpose(1, 2)], 1) + self.positions(grid)
        x = self.blocks(x)
        if self.mean_pool:
            return self.head(self.fc_norm(x[:, self.prefix:].mean(1)))
        return self.head(self.norm(x)[:, 0])


def projector(width, hidden, out):
    """torchvision.ops.MLP's order of modules: linear, norm, activation, dropout."""
    return nn.Sequential(nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Dropout(0),
                         nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
                         nn.Dropout(0), nn.Linear(hidden, out))
