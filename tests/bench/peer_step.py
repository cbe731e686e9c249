#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training step of bench_step in PyTorch, beside ours: two lines of JSON for each setting and
precision.

    peer_step.py [--python PYTHON ...] [--level LEVEL] BENCH_STEP [SETTING ...]

Layers, batch, loss and optimiser are the same; the input is in memory already, so that neither side
counts views or data. Both sides are pinned to one core, have one thread, and use the vector
instructions of the same level: that of this processor, or LEVEL (avx2, avx512, avx512bf16). PyTorch
is that of the interpreter which runs this, and of each PYTHON. It runs eagerly and, where it can,
compiled; convolutions channels first and channels last. The fastest of all these is what counts,
and `tried` in the first line lists their GFLOP/s. GFLOP are 3 x 2 x forward multiply-adds of
encoder and projector, attention included, by processor time. The second line compares the peak
resident memory of the whole process with that of the fastest. The C library's allocator is told not
to return memory to the system, without which PyTorch is much slower.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import peer_models as models

SHORT = os.environ.get("LJ_BENCH_SHORT") == "1"
RESNET18 = ((64, 128, 256, 512), (2, 2, 2, 2))
ATTO = ((40, 80, 160, 320), (2, 2, 6, 2))
# The encoder with its arguments, pixels, samples, views: those of bench_step.c.
SETTINGS = {
    "vit_tiny_64": (models.vit, (64, 8, 192, 12, 3), 64, 16, 4),
    "vit_small_128": (models.vit, (128, 8, 384, 12, 6), 128, 8, 2),
    "width192_28": (models.vit, (28, 7, 192, 6, 3), 28, 128, 4),
    "resnet18_64": (models.resnet, RESNET18, 64, 8, 2),
    "convnextv2_atto_64": (models.convnextv2, (*ATTO, 2), 64, 8, 4),
}
HIDDEN, OUT, SLICES, KNOTS = 2048, 64, 1024, 17
if SHORT:
    SETTINGS = {"width192_28": (models.vit, (28, 7, 32, 1, 1), 28, 16, 4)}
    HIDDEN, OUT, SLICES = 32, 8, 16
TARGETS = {("vit_tiny_64", "bf16"): 1.45, ("resnet18_64", "fp32"): 1.4,
           ("convnextv2_atto_64", "fp32"): 1.4}  # at least; memory at most once PyTorch's
SECONDS = 6
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
               # Everything comes from the heap, which never shrinks: no page is faulted in twice.
               "MALLOC_MMAP_MAX_": "0", "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
               "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(256 << 20)}
# What keeps PyTorch and its libraries to a level. Debian's may use BLIS 0.9, which takes plain C on
# a processor that it does not know: 0 and 3 are its Skylake-X and Haswell kernels.
LEVELS = {
    "avx512bf16": {"BLIS_ARCH_TYPE": "0"},
    "avx512": {"BLIS_ARCH_TYPE": "0", "DNNL_MAX_CPU_ISA": "AVX512_CORE_VNNI",
               "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"},
    "avx2": {"BLIS_ARCH_TYPE": "3", "ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2",
             "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
}
MODES = ("eager", "compiled", "eager channels_last", "compiled channels_last")


# ---- PyTorch -------------------------------------------------------------------------------------

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


def make_step(torch, name, precision, mode):
    """One training step, and its floating-point operations."""
    build, arguments, pixels, samples, views = SETTINGS[name]
    model = models.with_projector(torch, *build(torch, *arguments), HIDDEN, OUT)
    amount = 3 * 2 * samples * views * models.multiply_adds(torch, model, pixels)
    optimiser = make_optimiser(torch, model.parameters())
    images = torch.randn(views * samples, 3, pixels, pixels)
    if "channels_last" in mode:
        images = images.to(memory_format=torch.channels_last)
        model = model.to(memory_format=torch.channels_last)
    if "compiled" in mode:
        model = torch.compile(model)

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            proj = model(images)
        loss = lejepa_loss(torch, proj.float().view(views, samples, OUT))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step, amount


def peer(name, precision, mode):
    """Runs steps in this process; prints one line of JSON, or null where PyTorch cannot."""
    import torch
    build = SETTINGS[name][0]
    if ("compiled" in mode and not hasattr(torch, "compile")) or (
            "channels_last" in mode and build is models.vit):
        print("null")
        return
    torch.set_num_threads(1)
    torch.manual_seed(0)
    step, amount = make_step(torch, name, precision, mode)
    for _ in range(1 if SHORT else 3):
        step()
    seconds, begun = [], time.monotonic()
    while not seconds or (not SHORT and time.monotonic() - begun < SECONDS):
        before = time.process_time()
        loss = step()
        seconds.append(time.process_time() - before)
    assert loss == loss and abs(loss) < 1e6, loss
    print(json.dumps({"version": torch.__version__, "mode": mode,
                      "gflops": 1e-9 * amount / statistics.median(seconds)}))


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


def fastest_peer(pythons, name, precision, level):
    """What the fastest PyTorch measured, its memory, and the GFLOP/s of all."""
    best, tried = None, {}
    for python in pythons:
        for mode in MODES[:1] if SHORT else MODES:
            result, memory = measured([python, __file__, "--peer", name, precision, mode],
                                      **LEVELS.get(level, {}))
            if result:
                tried[f"{result['version']} {mode}"] = round(result["gflops"], 1)
                if not best or result["gflops"] > best[0]["gflops"]:
                    best = result, memory
    return (*best, tried)


def compare(pythons, level, bench_step, name, precision):
    variables = {"LJ_ISA": level} if level else {}
    ours, our_memory = measured([bench_step, name, f"precision={precision}"], **variables)
    found = ours["name"].split()[1]
    theirs, their_memory, tried = fastest_peer(pythons, name, found, ours["isa"])
    against = f"PyTorch {theirs['version']} {theirs['mode']}"
    print(json.dumps({
        "name": f"step {found} against PyTorch", "shape": ours["shape"], "isa": ours["isa"],
        "ranks": 1, "threads": 1, "median": ours["median"], "unit": "GFLOP/s",
        "reference": round(theirs["gflops"], 1),
        "ratio": round(ours["median"] / theirs["gflops"], 3),
        "against": against, "target": TARGETS.get((name, found)),
        "share_of_peak": ours["ratio"], "busy": ours["busy"], "tried": tried}))
    print(json.dumps({
        "name": f"resident memory {found} against PyTorch", "shape": ours["shape"],
        "isa": ours["isa"], "ranks": 1, "threads": 1, "median": round(our_memory), "unit": "MiB",
        "reference": round(their_memory), "ratio": round(our_memory / their_memory, 3),
        "against": against, "target": 1}), flush=True)
    return found


def main():
    if sys.argv[1:2] == ["--peer"]:
        peer(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1])
    parser.add_argument("--python", action="append", default=[])
    parser.add_argument("--level", choices=LEVELS)
    parser.add_argument("bench_step")
    parser.add_argument("setting", nargs="*")
    call = parser.parse_args()
    for name in call.setting or SETTINGS:
        words = [sys.executable, *call.python], call.level, call.bench_step, name
        if compare(*words, "auto") == "bf16":
            compare(*words, "fp32")


main()
