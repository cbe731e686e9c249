# SPDX-License-Identifier: Apache-2.0
"""Does timm make the embeddings of `embed`, and those of its layers=2, from what `export` writes,
and from nothing else? Trains small models, exports them, and compares; the first as the script
in README.md does it, which is run as it stands there. Where timm has no such architecture, its
nearest is changed as README.md says.

    check_timm.py PROGRAM README
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import timm
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ROWS, TOLERANCE = 16, 1e-4
LIGHT = ("batch.size=16 train.steps=2 views.local=1 projector.hidden=32 projector.out=8 "
         "sigreg.slices=16").split()
SMALL = "model=vit model.width=32 model.depth=2 model.heads=4".split()
PIXELS = np.random.default_rng(5).integers(0, 256, (32, 40, 40, 3))

# settings of the run; pixels as stored; what is done to them before mean and std
CASES = {
    "default model, by the script of README.md": ([], PIXELS.astype("u1"), None),
    "everything": (["model.registers=2", "model.head=10", "model.pool=mean", "model.patch=5",
                    "model.mlp_ratio=2.999", *SMALL], PIXELS.astype("u1"), lambda x: x / 255),
    "u16": (SMALL, (PIXELS * 250).astype("<u2"), lambda x: x / 65535),
    "floats": (SMALL, (PIXELS * 3.5 - 70).astype("<f4"), lambda x: x),
    "stretch": (["data.stretch=asinh", "data.stretch_scale=2.5", *SMALL],
                (PIXELS * 3.5 - 70).astype("<f4"), lambda x: torch.asinh(x / 2.5)),
    "one channel, smaller view": (["views.global_size=20", *SMALL],
                                  PIXELS[..., :1].astype("u1"), lambda x: x / 255),
    "ResNet-18": (["model=resnet18", "model.stem=large", "model.depth=1", "model.head=7"],
                  PIXELS.astype("u1"), lambda x: x / 255),
    "ResNet-50": (["model=resnet50", "model.stem=large", "model.depth=1"],
                  PIXELS.astype("u1"), lambda x: x / 255),
    "ConvNeXt-V2-A": (["model=convnextv2_atto", "model.depth=1", "model.head=7"],
                      PIXELS.astype("u1"), lambda x: x / 255),
    "ConvNeXt-V2-T": (["model=convnextv2_tiny", "model.patch=4", "model.depth=1",
                       "views.local_size=33"], PIXELS.astype("u1"), lambda x: x / 255),
    "ResNet-18 for small images": (["model=resnet18", "model.norm=batch"],
                                   PIXELS.astype("u1"), lambda x: x / 255),
}


def run(program, *words):
    done = subprocess.run([program, *words], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")


def script_of(readme):
    text = pathlib.Path(readme).read_text(encoding="utf-8")
    return re.search(r"<!-- run by tests/golden/check_timm.py -->\n```python\n(.*?)```", text,
                     re.S)[1]


def small_resnet18(channels):
    """As README.md tells; its weights are loaded strictly."""
    net = timm.create_model("resnet18", num_classes=0)
    net.conv1 = torch.nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = torch.nn.Identity()
    net.load_state_dict({name: tensor for name, tensor in
                         load_file("encoder/model.safetensors").items()
                         if not name.startswith("projector.")}, strict=True)
    return net


def encoder_by_timm():
    """Encoder and pretrained_cfg."""
    config = json.loads(pathlib.Path("encoder/config.json").read_text(encoding="utf-8"))
    if "architecture" in config:
        encoder = timm.create_model("local-dir:encoder", pretrained=True).eval()
        return encoder, encoder.pretrained_cfg
    cfg = config["pretrained_cfg"]
    return small_resnet18(cfg["input_size"][0]).eval(), cfg


def last_two_by_timm(encoder, images):
    """Features of the last two layers side by side."""
    if hasattr(encoder, "blocks"):
        token = encoder.global_pool == "token"
        layers = encoder.forward_intermediates(images, indices=2, norm=token, output_fmt="NLC",
                                               return_prefix_tokens=True, intermediates_only=True)
        return torch.cat([prefix[:, 0] if token else encoder.fc_norm(patches.mean(1))
                          for patches, prefix in layers], 1)
    maps = encoder.forward_intermediates(images, indices=2, intermediates_only=True)
    norm = getattr(getattr(encoder, "head", None), "norm", torch.nn.Identity())
    return torch.cat([maps[0].mean((2, 3)), norm(maps[1].mean((2, 3), True)).flatten(1)], 1)


def images_for_timm(cfg, to_images):
    mean, std = (torch.tensor(cfg[name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    with h5py.File("galaxies.h5") as file:
        images = torch.from_numpy(file["images"][:ROWS].astype("f4"))
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2)
    images = F.interpolate(to_images(images), cfg["input_size"][1:], mode="bilinear",
                           antialias=True)
    return (images - mean) / std


def compare(wanted, path):
    with h5py.File(path) as file:
        found = torch.from_numpy(file["embeddings"][:ROWS])
    if wanted.shape != found.shape:
        return False, f"{tuple(found.shape)} instead of {tuple(wanted.shape)}"
    spread, error = float(found.std(0).max()), float((wanted - found).abs().max())
    good = error <= TOLERANCE and spread > 100 * TOLERANCE
    return good, f"largest difference {error:.2g}, spread over images {spread:.2g}"


def check(program, readme, settings, pixels, to_images):
    """In a directory of its own, which is the current one."""
    with h5py.File("galaxies.h5", "w") as file:
        file["images"] = pixels
    os.mkdir("encoder")
    run(program, "train", "data.archive=galaxies.h5", "run.dir=run", *LIGHT, *settings)
    run(program, "export", "checkpoint=run", "out=encoder/model.safetensors")
    run(program, "embed", "checkpoint=run", "data.archive=galaxies.h5", "out=embeddings.h5")
    run(program, "embed", "checkpoint=run", "data.archive=galaxies.h5", "out=two.h5", "layers=2")
    with torch.no_grad():
        encoder, cfg = encoder_by_timm()
        images = images_for_timm(cfg, to_images or (lambda x: x / 255))
        two = last_two_by_timm(encoder, images)
        if to_images:
            one = encoder(images)
        else:
            names = {}
            exec(script_of(readme), names)
            one = names["embeddings"]
    good, text = compare(one, "embeddings.h5")
    both_good, both_text = compare(two, "two.h5")
    return good and both_good, f"{text}; of two layers: {both_text}"


def main(program, readme):
    bad = 0
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            good, text = check(program, readme, *case)
            os.chdir("/")
        print(f"{name}: {'good' if good else 'DIFFERENT'}: {text}")
        bad += not good
    sys.exit(bad > 0)


main(*sys.argv[1:])
