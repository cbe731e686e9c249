# SPDX-License-Identifier: Apache-2.0
"""Writes image.h5: what torchvision's float tensor operations give, for tests/data/test_image.c.

    python3 make_image.py [image.h5]
    python3 make_image.py image.h5 rotate    only that, into the file that is there; by PyTorch

/sources/NAME  (C, H, W) uint8; the float image is this divided by 255
/OPERATION/K   (C, h, w) float32, K = 0, 1, ...; attributes source (name) and args (float64):
    resize      top left height width out_h out_w
    centre      size (shorter side resized, centre crop)
    brightness contrast saturation hue solarize   the factor, shift or threshold
    grey        none
    blur        kernel sigma
    turn        quarter turns counter-clockwise
    rotate      top left height width size degrees: a box, rotated by PyTorch's grid_sample from its
                resized surroundings; attribute versions, as that of the file
"""
import math
import sys

import h5py
import numpy as np
import torch

ROTATE_ALONE = sys.argv[2:] == ["rotate"]
if not ROTATE_ALONE:
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
ROTATE = [
    ("rgb", 5, 8, 12, 15, 9, 30), ("rgb", 0, 0, 23, 31, 31, 137.5), ("rgb", 22, 30, 1, 1, 5, 45),
    ("rgb", 10, 10, 2, 3, 28, 291), ("wide", 40, 60, 90, 70, 32, 10),
    ("wide", 0, 0, 150, 210, 16, 200), ("grey", 0, 0, 28, 28, 28, 90), ("tall", 3, 0, 9, 6, 8, 359),
    ("bands", 2, 2, 5, 5, 1, 77), ("pixel", 0, 0, 1, 1, 3, 60),
]
COLOUR = {  # functions of torchvision
    "brightness": ("adjust_brightness", [0.0, 0.6, 1.0, 1.4]),
    "contrast": ("adjust_contrast", [0.0, 0.2, 1.0, 1.8]),
    "saturation": ("adjust_saturation", [0.0, 0.2, 1.0, 1.8]),
    "hue": ("adjust_hue", [-0.5, -0.1, 0.0, 0.03, 0.1, 0.37, 0.5]),
    "solarize": ("solarize", [0.5, 0.25]),
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


def around(centre, reach, pixels, scale, size):
    """The pixels within reach of the centre, and how many they are resized to."""
    first = max(math.floor(centre - reach), 0)
    end = min(math.ceil(centre + reach), pixels)
    return first, end, min(math.ceil((end - first) * scale), 2 * size)


def rotate(image, top, left, height, width, size, degrees):
    """In pixels of the image: the view's pixel at (x, y) from its centre lies at R (x, y) from that
    of the box. In double, but for the antialiased resize, which is float32 as in the views."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    reach = (abs(cosine) + abs(sine)) / 2
    y, x = top + height / 2, left + width / 2
    first_y, end_y, rows = around(y, reach * height, image.shape[1], size / height, size)
    first_x, end_x, columns = around(x, reach * width, image.shape[2], size / width, size)
    resized = torch.nn.functional.interpolate(
        image[None, :, first_y:end_y, first_x:end_x], (rows, columns), mode="bilinear",
        align_corners=False, antialias=True)
    offset = (torch.arange(size, dtype=torch.float64) + 0.5) / size - 0.5
    down, right = torch.meshgrid(offset, offset, indexing="ij")
    at_x = x + (cosine * right - sine * down) * width
    at_y = y + (sine * right + cosine * down) * height
    grid = torch.stack([(at_x - first_x) / (end_x - first_x), (at_y - first_y) / (end_y - first_y)])
    return torch.nn.functional.grid_sample(
        resized.double(), (2 * grid - 1).permute(1, 2, 0)[None], mode="bilinear",
        padding_mode="reflection", align_corners=False)[0].float()


def add_rotations(out, images):
    group = out.create_group("rotate")
    group.attrs["versions"] = f"torch {torch.__version__}, numpy {np.__version__}"
    for number, (source, *args) in enumerate(ROTATE):
        value = rotate(torch.from_numpy(images[source]).float() / 255, *args)
        data = group.create_dataset(str(number), data=value.contiguous().numpy())
        data.attrs["source"] = np.bytes_(source)
        data.attrs["args"] = np.array(args, np.float64)


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
                save(operation, "rgb", [factor], getattr(F, function)(floats["rgb"], factor))
        save("grey", "rgb", [0], F.rgb_to_grayscale(floats["rgb"], 3))
        for source, kernel, sigma in BLUR:
            save("blur", source, [kernel, sigma], F.gaussian_blur(floats[source], kernel, sigma))
        for quarters in (0, 1, 2, 3):
            save("turn", "grey", [quarters], torch.rot90(floats["grey"], quarters, (1, 2)))
        add_rotations(out, images)


if ROTATE_ALONE:
    with h5py.File(sys.argv[1], "a") as file:
        add_rotations(file, sources())
else:
    main(sys.argv[1] if len(sys.argv) > 1 else "image.h5")
