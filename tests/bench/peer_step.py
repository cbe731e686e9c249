#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training step of bench_step in PyTorch, beside ours: two lines of JSON for each setting and
precision.

    peer_step.py BENCH_STEP [SETTING ...]

Run it by an interpreter that has the PyTorch to compare with. Layers, batch, loss and optimiser are
the same; the input is in memory already, so that neither side counts views or data. Both sides are
pinned to one core and have one thread. The first line compares GFLOP/s of processor time, where
GFLOP are 3 x 2 x forward multiply-adds of encoder and projector, attention included; the second
line compares the peak resident memory of the whole process. The C library's allocator is told not
to return memory to the system, without which PyTorch is much slower.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

SHORT = os.environ.get("LJ_BENCH_SHORT") == "1"
SETTINGS = {  # pixels, patch, width, depth, heads, samples, views: those of bench_step.c
    "vit_tiny_64": (64, 8, 192, 12, 3, 16, 4),
    "vit_small_128": (128, 8, 384, 12, 6, 8, 2),
    "width192_28": (28, 7, 192, 6, 3, 128, 4),
}
HIDDEN, OUT, SLICES, KNOTS = 2048, 64, 1024, 17
if SHORT:
    SETTINGS = {"width192_28": (28, 7, 32, 1, 1, 16, 4)}
    HIDDEN, OUT, SLICES = 32, 8, 16
TARGETS = {("vit_tiny_64", "bf16"): 1.5}  # at least; memory at most once PyTorch's
SECONDS = 6
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
               # Everything comes from the heap, which never shrinks: no page is faulted in twice.
               "MALLOC_MMAP_MAX_": "0", "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
               "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(256 << 20)}


def flops(pixels, patch, width, depth, samples, views):
    tokens = (pixels // patch)**2 + 1
    block = tokens * 12 * width**2 + 2 * tokens**2 * width
    encoder = (tokens - 1) * 3 * patch**2 * width + depth * block
    projector = width * HIDDEN + HIDDEN**2 + HIDDEN * OUT
    return 3 * 2 * samples * views * (encoder + projector)


# Debian's PyTorch may use BLIS 0.9, which takes plain C on a processor that it does not know. These
# are BLIS's numbers for its Skylake-X and Haswell kernels.
BLIS_ARCH_TYPE = {"avx512bf16": "0", "avx512": "0", "avx2": "3"}


# ---- PyTorch -------------------------------------------------------------------------------------

def make_model(torch, pixels, patch, width, depth, heads):
    nn = torch.nn
    fused_attention = getattr(nn.functional, "scaled_dot_product_attention", None)

    class Attention(nn.Module):
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
                out = ((q * (width // heads)**-0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
            return self.proj(out.transpose(1, 2).reshape(images, tokens, width))

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
            self.attention = Attention()
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(),
                                     nn.Linear(4 * width, width))

        def forward(self, x):
            x = x + self.attention(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.patch = nn.Conv2d(3, width, patch, patch)
            self.token = nn.Parameter(torch.zeros(1, 1, width))
            self.position = nn.Parameter(0.02 * torch.randn(1, (pixels // patch)**2 + 1, width))
            self.blocks = nn.Sequential(*(Block() for _ in range(depth)))
            self.norm = nn.LayerNorm(width, 1e-6)

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
            return self.norm(self.blocks(x))[:, 0]

    def hidden(inputs):
        return [nn.Linear(inputs, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]

    return nn.Sequential(Encoder(), *hidden(width), *hidden(HIDDEN), nn.Linear(HIDDEN, OUT))


def lejepa_loss(torch, proj):
    """The loss of proj (V, N, D): SIGReg on grid A, and the distance of views from their mean."""
    directions = torch.randn(proj.shape[2], SLICES)
    knots = torch.linspace(0, 3, KNOTS)
    window = torch.exp(-knots**2 / 2)
    weights = torch.full((KNOTS,), 2 * 3 / (KNOTS - 1))
    weights[[0, -1]] /= 2
    phase = (proj @ (directions / directions.norm(dim=0)))[..., None] * knots
    error = (phase.cos().mean(1) - window)**2 + phase.sin().mean(1)**2
    sigreg = ((error * (weights * window)).sum(-1) * proj.shape[1]).mean()
    return 0.05 * sigreg + 0.95 * ((proj - proj.mean(0))**2).mean()


def make_optimiser(torch, parameters):
    for fast in {"fused": True}, {"foreach": True}:
        try:
            return torch.optim.AdamW(parameters, lr=5e-4, weight_decay=0.05, **fast)
        except (TypeError, RuntimeError):
            continue
    return torch.optim.AdamW(parameters, lr=5e-4, weight_decay=0.05)


def peer(name, precision):
    """Runs steps in this process; prints one line of JSON."""
    import torch
    pixels, patch, width, depth, heads, samples, views = SETTINGS[name]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = make_model(torch, pixels, patch, width, depth, heads)
    optimiser = make_optimiser(torch, model.parameters())
    images = torch.randn(views * samples, 3, pixels, pixels)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            proj = model(images)
        loss = lejepa_loss(torch, proj.float().view(views, samples, OUT))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    for _ in range(1 if SHORT else 3):
        step()
    seconds, begun = [], time.monotonic()
    while not seconds or (not SHORT and time.monotonic() - begun < SECONDS):
        before = time.process_time()
        loss = step()
        seconds.append(time.process_time() - before)
    assert loss == loss and abs(loss) < 1e6, loss
    amount = 1e-9 * flops(pixels, patch, width, depth, samples, views)
    print(json.dumps({"version": torch.__version__, "gflops": amount / statistics.median(seconds)}))


# ---- side by side --------------------------------------------------------------------------------

def measured(command, **variables):
    """The first line that a pinned process prints, as JSON, and its peak resident MiB."""
    core = max(os.sched_getaffinity(0))
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out,
                                   env={**os.environ, **ENVIRONMENT, **variables},
                                   preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
        out.seek(0)
        return json.loads(out.readline()), usage.ru_maxrss / 1024


def compare(bench_step, name, precision):
    ours, our_memory = measured([bench_step, name, f"precision={precision}"])
    found = ours["name"].split()[1]
    kernels = BLIS_ARCH_TYPE.get(ours["isa"])
    theirs, their_memory = measured([sys.executable, __file__, "--peer", name, found],
                                    **({"BLIS_ARCH_TYPE": kernels} if kernels else {}))
    print(json.dumps({
        "name": f"step {found} against PyTorch", "shape": ours["shape"], "isa": ours["isa"],
        "ranks": 1, "threads": 1, "median": ours["median"], "unit": "GFLOP/s",
        "reference": round(theirs["gflops"], 1),
        "ratio": round(ours["median"] / theirs["gflops"], 3),
        "against": f"PyTorch {theirs['version']}", "target": TARGETS.get((name, found)),
        "share_of_peak": ours["ratio"], "busy": ours["busy"]}))
    print(json.dumps({
        "name": f"resident memory {found} against PyTorch", "shape": ours["shape"],
        "isa": ours["isa"], "ranks": 1, "threads": 1, "median": round(our_memory), "unit": "MiB",
        "reference": round(their_memory), "ratio": round(our_memory / their_memory, 3),
        "against": f"PyTorch {theirs['version']}", "target": 1}), flush=True)
    return found


def main():
    if sys.argv[1:2] == ["--peer"]:
        peer(*sys.argv[2:])
        return
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for name in sys.argv[2:] or SETTINGS:
        if compare(sys.argv[1], name, "auto") == "bf16":
            compare(sys.argv[1], name, "fp32")


main()
