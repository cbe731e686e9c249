# SPDX-License-Identifier: Apache-2.0
"""Can PyTorch use what the program exports? Trains small models for two steps, exports them, loads
the tensors into torch.nn modules with load_state_dict(strict=True), embeds images of the archive,
and compares with what `embed` wrote.

    check_export.py PROGRAM ARCHIVE
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import torch
    import torch.nn.functional as F

    import torch_vit
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ROWS, TOLERANCE = 64, 1e-4
SMALL = ("batch.size=16 train.steps=2 views.local=1 model=vit model.width=32 model.depth=2 "
         "model.heads=4 projector.hidden=32 projector.out=8 sigreg.slices=16").split()

# words of the run, words of embed, options of the module; pixels: after data.size, of a global view
CASES = {
    "token": ([], [], dict(pixels=28, size=28, patch=4)),
    "everything": (["model.registers=2", "model.head=10", "model.pool=mean", "data.size=36",
                    "model.patch=6", "model.mlp_ratio=3"], [],
                   dict(pixels=36, size=36, patch=6, registers=2, head=10, mean_pool=True,
                        hidden=96)),
    "smaller view": (["views.global_size=20", "model.pool=mean"], [],
                     dict(pixels=28, size=20, patch=4, mean_pool=True)),
    "other size than trained": (["model.registers=1", "model.head=5"], ["data.size=40"],
                                dict(pixels=40, size=28, patch=4, registers=1, head=5)),
}


def run(program, *words):
    done = subprocess.run([program, *words], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")


def read_safetensors(path):
    """{name: array}: 8 bytes of length, JSON, then the tensors' bytes."""
    data = pathlib.Path(path).read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", f"{name} is {entry['dtype']}"
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + length + begin:8 + length + end], "<f4")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


def resize(images, size):
    """Antialiased bilinear, as torchvision resizes tensors."""
    if images.shape[-1] == size:
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def evaluation_views(archive, rows, checkpoint, pixels, size):
    with h5py.File(archive) as f:
        images = torch.from_numpy(f["images"][rows].astype(np.float32) / 255)
    with h5py.File(checkpoint) as f:
        mean, std = (torch.from_numpy(f["data/" + n][:]).view(1, -1, 1, 1) for n in ("mean", "std"))
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
    return (resize(resize(images, pixels), size) - mean) / std


def check(program, archive, directory, words, embed_words, options):
    run_dir, weights, embeddings = (f"{directory}/{n}" for n in ("run", "w.safetensors", "e.h5"))
    data = f"data.archive={archive}"
    run(program, "train", data, f"run.dir={run_dir}", *SMALL, *words)
    run(program, "export", f"checkpoint={run_dir}", f"out={weights}")
    run(program, "embed", f"checkpoint={run_dir}", data, "data.where=split=1",
        f"out={embeddings}", *embed_words)
    checkpoint, = pathlib.Path(run_dir, "checkpoints").glob("*.h5")

    options = dict(options)
    pixels = options.pop("pixels")
    options.setdefault("hidden", 128)
    vit = torch_vit.VisionTransformer(channels=1, width=32, depth=2, heads=4, **options)
    vit.load_state_dict({n: torch.from_numpy(t.copy())
                         for n, t in read_safetensors(weights).items()}, strict=True)
    with h5py.File(embeddings) as f:
        rows, theirs = f["row"][:ROWS], torch.from_numpy(f["embeddings"][:ROWS])
    with torch.no_grad():
        ours = vit(evaluation_views(archive, rows, checkpoint, pixels, options["size"]))
    spread = float(ours.std(0).max())
    error = float((ours - theirs).abs().max())
    verdict = "good" if error <= TOLERANCE and spread > 100 * TOLERANCE else "DIFFERENT"
    return verdict, f"largest difference {error:.2g}, spread over images {spread:.2g}"


def main(program, archive):
    bad = 0
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as directory:
            verdict, text = check(program, archive, directory, *case)
        print(f"{name}: {verdict}: {text}")
        bad += verdict != "good"
    sys.exit(bad > 0)


main(*sys.argv[1:])
