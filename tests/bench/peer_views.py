#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The views of bench_views in torchvision, beside ours: one line of JSON.

    peer_views.py BENCH_VIEWS

2 views of 128 px and 6 of 56 px from a 128 px RGB image, by the whole recipe; torchvision gets a
PIL image, as its users have it. Both sides are pinned to one core and have one thread; processor
time counts. Run it by an interpreter that has torchvision.
"""
import json
import os
import statistics
import subprocess
import sys
import time

SHORT = os.environ.get("LJ_BENCH_SHORT") == "1"
SIZE = 32 if SHORT else 128
SECONDS = 0 if SHORT else 4


def make_recipe(transforms, size, scale):
    jitter = transforms.ColorJitter(0.4, 0.4, 0.2, 0.1)
    sigma = (0.1 * size / 224, 2.0 * size / 224)  # given for a view of 224 px, as ours is
    blur = transforms.GaussianBlur(2 * max(1, round(3 * sigma[1])) + 1, sigma)
    return transforms.Compose([
        transforms.RandomResizedCrop(size, scale=scale),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([jitter], 0.8),
        transforms.RandomGrayscale(0.2),
        transforms.RandomApply([blur], 0.5),
        transforms.RandomSolarize(128, 0.2),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])


def peer():
    """Views a second in torchvision."""
    import torch
    import torchvision
    from torchvision import transforms
    torch.set_num_threads(1)
    torch.manual_seed(0)
    image = transforms.ToPILImage()(torch.rand(3, SIZE, SIZE))
    recipes = (2 * [make_recipe(transforms, SIZE, (0.3, 1))] +
               6 * [make_recipe(transforms, SIZE * 7 // 16, (0.05, 0.3))])
    seconds, begun = [], time.monotonic()
    while not seconds or time.monotonic() - begun < SECONDS:
        before = time.process_time()
        for recipe in recipes:
            recipe(image)
        seconds.append(time.process_time() - before)
    return {"version": torchvision.__version__, "rate": len(recipes) / statistics.median(seconds)}


def pinned(command):
    core = max(os.sched_getaffinity(0))
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                         preexec_fn=lambda: os.sched_setaffinity(0, {core}))
    return json.loads(run.stdout.splitlines()[0])


def main():
    if sys.argv[1:] == ["--peer"]:
        print(json.dumps(peer()))
        return
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    ours = pinned([sys.argv[1]])
    theirs = pinned([sys.executable, __file__, "--peer"])
    print(json.dumps({**ours, "name": "views against torchvision",
                      "reference": round(theirs["rate"], 1),
                      "ratio": round(ours["median"] / theirs["rate"], 2),
                      "against": f"torchvision {theirs['version']}", "target": 8}))


main()
