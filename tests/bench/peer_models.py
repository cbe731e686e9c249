# SPDX-License-Identifier: Apache-2.0
"""The encoders of bench_step, written in plain PyTorch, and what their steps count."""


def vit(torch, pixels, patch, width, depth, heads):
    nn = torch.nn
    fused_attention = getattr(nn.functional, "scaled_dot_product_attention", None)
    tokens = (pixels // patch) ** 2 + 1

    class Attention(nn.Module):
        # Of its two products; those of the linear layers are counted with them.
        multiply_adds = 2 * tokens**2 * width

        def __init__(self):
            super().__init__()
            self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

        def forward(self, x):
            images, tokens, _ = x.shape
            qkv = self.qkv(x).view(images, tokens, 3, heads, width // heads)
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            if fused_attention:
                out = fused_attention(q, k, v)
            else:
                out = ((q * (width // heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
            return self.proj(out.transpose(1, 2).reshape(images, tokens, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
            self.attention = Attention()
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, width, patch, patch)
            self.token = nn.Parameter(torch.zeros(1, 1, width))
            self.position = nn.Parameter(0.02 * torch.randn(1, tokens, width))
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm = nn.LayerNorm(width, 1e-6)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
            return self.norm(self.blocks(x))[:, 0]

    return Encoder(), width


def resnet(torch, widths, depths):
    """Basic blocks; a stem for small images: 3 x 3, stride 1, no pooling."""
    nn = torch.nn

    def conv(inputs, outputs, kernel, stride=1):
        return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            self.conv1, self.bn1 = conv(inputs, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
            self.relu = nn.ReLU(inplace=True)
            self.downsample = None
            if stride != 1 or inputs != width:
                self.downsample = nn.Sequential(
                    conv(inputs, width, 1, stride), nn.BatchNorm2d(width)
                )

        def forward(self, x):
            branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(branch + (self.downsample(x) if self.downsample else x))

    layers = [conv(3, widths[0], 3), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)]
    inputs = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        for block in range(depth):
            layers.append(Block(inputs, width, 2 if stage > 0 and block == 0 else 1))
            inputs = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), inputs


def convnextv2(torch, widths, depths, patch):
    nn = torch.nn

    class ChannelNorm(nn.LayerNorm):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    class Response(nn.Module):
        """Global response normalisation of (N, H, W, C)."""

        def __init__(self, width):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(width))
            self.bias = nn.Parameter(torch.zeros(width))

        def forward(self, x):
            size = x.norm(p=2, dim=(1, 2), keepdim=True)
            size = size / (size.mean(-1, keepdim=True) + 1e-6)
            return x + torch.addcmul(self.bias, self.weight, x * size)

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(width, width, 7, padding=3, groups=width)
            self.norm = nn.LayerNorm(width, 1e-6)
            self.mlp = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), Response(4 * width),
                nn.Linear(4 * width, width),
            )

        def forward(self, x):
            branch = self.mlp(self.norm(self.conv(x).permute(0, 2, 3, 1)))
            return x + branch.permute(0, 3, 1, 2)

    layers = [nn.Conv2d(3, widths[0], patch, patch), ChannelNorm(widths[0], 1e-6)]
    for stage, (width, depth) in enumerate(zip(widths, depths)):
        if stage > 0:
            before = widths[stage - 1]
            layers += [ChannelNorm(before, 1e-6), nn.Conv2d(before, width, 2, 2)]
        layers += [Block(width) for _ in range(depth)]
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(widths[-1], 1e-6)]
    return nn.Sequential(*layers, *pool), widths[-1]


def with_projector(torch, encoder, width, hidden, out):
    nn = torch.nn

    def layer(inputs):
        return [nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]

    return nn.Sequential(encoder, *layer(width), *layer(hidden), nn.Linear(hidden, out))


def multiply_adds(torch, model, pixels):
    """Of forward, for one image: convolutions, linear layers, attention."""
    total = 0

    def count(module, _, y):
        nonlocal total
        total += getattr(module, "multiply_adds", 0)
        if isinstance(module, torch.nn.Conv2d):
            total += y.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.Linear):
            total += y.numel() * module.in_features

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, pixels, pixels))
    model.train()
    for hook in hooks:
        hook.remove()
    return total
