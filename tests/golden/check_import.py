# SPDX-License-Identifier: Apache-2.0
"""Does `embed` make timm's embeddings from weights that timm wrote, after an `import` that is told
nothing of the encoder? timm adapts the weights to other channels and sizes itself, from the same
file. Where the weights need a class of timm that is too large for a test, a small one of the same
function takes its name.

    check_import.py PROGRAM
"""
import json
import os
import subprocess
import sys
import tempfile

try:
    import h5py
    import numpy as np
    import timm
    import torch
    import torch.nn.functional as F
    from safetensors.torch import load_file, save_file
    from timm.models._hub import save_for_hf
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

ROWS, TOLERANCE = 16, 1e-4
LIGHT = ("batch.size=16 views.local=1 projector.hidden=16 projector.out=8 projector.norm=lane "
         "sigreg.slices=8 data.archive=images.h5").split()
SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8}
CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 32, 64)}
DINO = {**SMALL, "init_values": 1e-5}

# timm's architecture, its arguments; channels and pixels of the archive; size of the images in
# timm, None: that of the weights; settings of the import; dtype of the file
CASES = {
    "ViT": ("vit_tiny_patch16_224", SMALL, 3, 32, None, [], torch.float32),
    "ViT, archive resized to the weights": ("vit_tiny_patch16_224", SMALL, 3, 45, None, [],
                                            torch.float16),
    "ViT, a whole one": ("vit_tiny_patch16_224", {}, 3, 28, None, [], torch.float32),
    "ViT, one channel": ("vit_small_patch16_224", SMALL, 1, 32, None, [], torch.float32),
    "ViT, five channels, larger": ("vit_base_patch16_224", SMALL, 5, 48, 48, ["data.size=48"],
                                   torch.float32),
    "ViT, two channels, smaller, mean": (
        "vit_base_patch16_224", {**SMALL, "global_pool": "avg", "mlp_ratio": 2.572}, 2, 32, 24,
        ["data.size=24"], torch.float32),
    "ViT without biases of qkv": ("vit_base_patch16_224", {**SMALL, "qkv_bias": False}, 3, 32, None,
                                  [], torch.bfloat16),
    "DINOv2": ("vit_small_patch14_dinov2", DINO, 3, 32, 40, ["data.size=40"], torch.float32),
    "DINOv2 with registers": ("vit_small_patch14_reg4_dinov2", DINO, 4, 32, None, [],
                              torch.float32),
    "DINOv2 with registers, larger": ("vit_small_patch14_reg4_dinov2", DINO, 3, 32, 56,
                                      ["data.size=56"], torch.float32),
    "DeiT III": ("deit3_small_patch16_224", SMALL, 3, 32, None, [], torch.float32),
    "ResNet-18": ("resnet18", {}, 3, 64, None, ["data.size=64"], torch.float32),
    "ResNet-18, one channel": ("resnet18", {}, 1, 64, None, ["data.size=64"], torch.float32),
    "ResNet-50, two blocks a stage": ("resnet50", {"layers": (2, 2, 2, 2)}, 5, 48, None,
                                      ["data.size=48"], torch.float32),
    "ConvNeXt-V2": ("convnextv2_atto", CONVNEXT, 3, 64, None, ["data.size=64"], torch.float32),
    "ConvNeXt-V2, four channels": ("convnextv2_tiny", CONVNEXT, 4, 48, None, ["data.size=48"],
                                   torch.float32),
    "ConvNeXt-V2-A, a whole one": ("convnextv2_atto", {}, 1, 64, None, ["data.size=64"],
                                   torch.float32),
}


def run(program, *words):
    done = subprocess.run([program, *words], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stderr


def draw(name, tensor):
    """Values that make every tensor count."""
    if name.endswith("running_var"):
        return torch.rand(tensor.shape) + 0.5
    if not tensor.is_floating_point():
        return tensor
    if tensor.dim() > 1 and "token" not in name and name != "pos_embed":
        return torch.randn(tensor.shape) * (1.5 / tensor[0].numel()) ** 0.5
    return 0.3 * torch.randn(tensor.shape) + (name.endswith("weight") and "grn" not in name)


def write_weights(architecture, arguments, dtype):
    """The encoder with a classifier, as timm saves it for a hub."""
    torch.manual_seed(1)
    model = timm.create_model(architecture, num_classes=7, **arguments)
    model.load_state_dict({n: draw(n, t).to(dtype).to(t.dtype) for n, t
                           in model.state_dict().items()})
    save_for_hf(model, "hub", model_args=arguments or None, safe_serialization=True)
    tensors = load_file("hub/model.safetensors")
    save_file({n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()},
              "hub/model.safetensors", metadata={"format": "pt"})
    with open("hub/config.json", encoding="utf-8") as file:
        return json.load(file)


def by_timm(config, arguments, stored, pixels):
    """Embeddings of timm, which adapts the weights."""
    is_vit = "img_size" in arguments
    changed = {"img_size": pixels} if pixels and is_vit else {}
    net = timm.create_model("local-dir:hub", pretrained=True, num_classes=0,
                            in_chans=stored.shape[-1], **changed).eval()
    images = torch.from_numpy(stored.astype("f4")).permute(0, 3, 1, 2) / 255
    images = F.interpolate(images, (pixels, pixels), mode="bilinear", antialias=True)
    cfg = config["pretrained_cfg"]
    mean, std = (torch.tensor(cfg[name]) for name in ("mean", "std"))
    if len(mean) != images.shape[1] and len(mean.unique()) > 1:  # ours: those of the archive
        mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    elif len(mean) != images.shape[1]:
        mean, std = mean[:1], std[:1]
    with torch.no_grad():
        return net((images - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1))


def check(program, architecture, arguments, channels, side, pixels, settings, dtype):
    """In a directory of its own, which is the current one."""
    config = write_weights(architecture, arguments, dtype)
    stored = np.random.default_rng(5).integers(0, 256, (ROWS, side, side, channels)).astype("u1")
    with h5py.File("images.h5", "w") as file:
        file["images"] = stored
    run(program, "import", "weights=hub/model.safetensors", "out=run", *LIGHT, *settings)
    run(program, "embed", "checkpoint=run", "data.archive=images.h5", "out=embeddings.h5")
    sizes = [int(s.split("=")[1]) for s in settings if s.startswith("data.size")]
    pixels = pixels or (sizes or [config["pretrained_cfg"]["input_size"][1]])[0]
    expected = by_timm(config, arguments, stored, pixels)
    with h5py.File("embeddings.h5") as file:
        found = torch.from_numpy(file["embeddings"][:])
    spread, error = float(expected.std(0).max()), float((expected - found).abs().max())
    size = float(expected.abs().max())
    good = error <= TOLERANCE * size and spread > 100 * TOLERANCE * size
    return good, f"largest difference {error:.2g} of {size:.2g}, spread over images {spread:.2g}"


def main(program):
    bad = 0
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as directory:
            os.chdir(directory)
            try:
                good, text = check(program, *case)
            except RuntimeError as error:
                good, text = False, str(error)
            os.chdir("/")
        print(f"{name}: {'good' if good else 'DIFFERENT'}: {text}", flush=True)
        bad += not good
    sys.exit(bad > 0)


main(*sys.argv[1:])
