# SPDX-License-Identifier: Apache-2.0
"""Writes image.h5: what torchvision's float tensor operations give, for tests/data/test_image.c.

    python3 make_image.py [image.h5]

/sources/NAME  (C, H, W) uint8; the float image is this divided by 255
/OPERATION/K   (C, h, w) float32, K = 0, 1, ...; attributes source (name) and args (float64):
    resize      top left height width out_h out_w
    centre      size (shorter side resized, centre crop)
    brightness contrast saturation hue solarize   the factor, shift or threshold
    grey        none
    blur        kernel sigma
    turn        quarter turns counter-clockwise
"""
import sys

import h5py
import numpy as np
import torch
import torchvision
import torchvision.transforms.functional as F

RESIZE = {
    "rgb": [(0, 0, 23, 31, 23, 31), (0, 0, 23, 31, 8, 9), (3, 5, 11, 17, 40, 33),
            (22, 30, 1, 1, 5, 4), (1, 2, 20, 7, 7, 20), (0, 0, 23, 31, 1, 1), (4, 0, 2, 31, 1, 16)],
    "wide": [(0, 0, 150, 210, 64, 64), (17, 33, 101, 77, 98, 98), (0, 1, 149, 208, 224, 13)],
    "grey": [(0, 0, 28, 28, 28, 28), (3, 2, 15, 20, 28, 28), (5, 6, 9, 7, 12, 12)],
    "bands": [(1, 0, 7, 9, 5, 6)],
    "pixel": [(0, 0, 1, 1, 1, 1), (0, 0, 1, 1, 3, 2)],
}
CENTRE = [("rgb", 12), ("rgb", 23), ("rgb", 40), ("wide", 64), ("grey", 28), ("tall", 5),
          ("pixel", 3)]
COLOUR = {
    "brightness": (F.adjust_brightness, [0.0, 0.6, 1.0, 1.4]),
    "contrast": (F.adjust_contrast, [0.0, 0.2, 1.0, 1.8]),
    "saturation": (F.adjust_saturation, [0.0, 0.2, 1.0, 1.8]),
    "hue": (F.adjust_hue, [-0.5, -0.1, 0.0, 0.03, 0.1, 0.37, 0.5]),
    "solarize": (F.solarize, [0.5, 0.25]),
}
BLUR = [("rgb", 7, 0.1), ("rgb", 7, 2.0), ("rgb", 23, 1.1), ("rgb", 45, 5.0), ("grey", 1, 1.0),
        ("tall", 5, 0.8), ("bands", 3, 0.5)]


def sources():
    random = np.random.default_rng(20251122)
    rgb = random.integers(0, 256, (3, 23, 31), dtype=np.uint8)
    rgb[:, 0, :8] = np.array([0, 255, 128, 127, 1, 254, 64, 200])  # greys: no hue
    rgb[:, 1, :6] = np.array([[255, 0, 0, 255, 255, 0],
                              [0, 255, 0, 255, 0, 255],
                              [0, 0, 255, 0, 255, 255]])
    rgb[1, 2, :] = rgb[0, 2, :]  # two largest channels equal
    return {"rgb": rgb,
            "wide": random.integers(0, 256, (1, 150, 210), dtype=np.uint8),
            "grey": random.integers(0, 256, (1, 28, 28), dtype=np.uint8),
            "bands": random.integers(0, 256, (10, 9, 9), dtype=np.uint8),
            "tall": random.integers(0, 256, (2, 13, 6), dtype=np.uint8),
            "pixel": random.integers(0, 256, (1, 1, 1), dtype=np.uint8)}


def main(path):
    images = sources()
    with h5py.File(path, "w") as out:
        out.attrs["creator"] = "tests/golden/make_image.py"
        out.attrs["versions"] = (f"torch {torch.__version__}, "
                                 f"torchvision {torchvision.__version__}, "
                                 f"numpy {np.__version__}, h5py {h5py.__version__}")
        for name, image in images.items():
            out.create_dataset(f"sources/{name}", data=image)
        floats = {name: torch.from_numpy(image).float() / 255 for name, image in images.items()}

        def save(operation, source, args, value):
            group = out.require_group(operation)
            data = group.create_dataset(str(len(group)), data=value.contiguous().numpy())
            data.attrs["source"] = np.bytes_(source)
            data.attrs["args"] = np.array(args, np.float64)

        for source, rows in RESIZE.items():
            for row in rows:
                box = F.crop(floats[source], *row[:4])
                value = F.resize(box, list(row[4:]), antialias=True)
                save("resize", source, row, value)
        for source, size in CENTRE:
            value = F.center_crop(F.resize(floats[source], size, antialias=True), size)
            save("centre", source, [size], value)
        for operation, (function, factors) in COLOUR.items():
            for factor in factors:
                save(operation, "rgb", [factor], function(floats["rgb"], factor))
        save("grey", "rgb", [0], F.rgb_to_grayscale(floats["rgb"], 3))
        for source, kernel, sigma in BLUR:
            save("blur", source, [kernel, sigma], F.gaussian_blur(floats[source], kernel, sigma))
        for quarters in (0, 1, 2, 3):
            save("turn", "grey", [quarters], torch.rot90(floats["grey"], quarters, (1, 2)))


main(sys.argv[1] if len(sys.argv) > 1 else "image.h5")
