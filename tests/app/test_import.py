#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`import` of weights as timm writes them: the encoder is found, weights are adapted to other
channels and sizes, `embed` and `probe` take the run; what is refused, and by what name.
tests/golden/check_import.py compares the embeddings with timm's."""

import json
import struct

import numpy

import program
from program import check, done, read, run

holder, here = program.scratch()
WIDTH, DEPTH, PATCH, GRID = 48, 2, 4, 4
LIGHT = ["batch.size=16", "views.local=1", "projector.hidden=16", "projector.out=8"]
SINGLE = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "input_size": [3, 16, 16]}
SEVERAL = {**SINGLE, "mean": [0.4, 0.5, 0.6]}


def drawn(*shape):
    return numpy.random.default_rng(sum(shape)).standard_normal(shape).astype("f4") / 4


def vit(classes=7, registers=0, prefix=1):
    """Tensors of a small vision transformer with timm's names."""
    tensors = {
        "cls_token": drawn(1, 1, WIDTH),
        "pos_embed": drawn(1, prefix + GRID**2, WIDTH),
        "patch_embed.proj.weight": drawn(WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": drawn(WIDTH),
        "norm.weight": 1 + drawn(WIDTH),
        "norm.bias": drawn(WIDTH),
        "head.weight": drawn(classes, WIDTH),
        "head.bias": drawn(classes),
    }
    if registers:
        tensors["reg_token"] = drawn(1, registers, WIDTH)
    for block in range(DEPTH):
        for name, out, width in [
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 2 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 2 * WIDTH),
        ]:
            tensors[f"blocks.{block}.{name}.weight"] = drawn(out, width)
            tensors[f"blocks.{block}.{name}.bias"] = drawn(out)
        for norm in ("norm1", "norm2"):
            tensors[f"blocks.{block}.{norm}.weight"] = 1 + drawn(WIDTH)
            tensors[f"blocks.{block}.{norm}.bias"] = drawn(WIDTH)
    return tensors


def write(name, tensors, cfg=None, **more):
    """A directory as of a hub; cfg None: without config.json."""
    directory = here / name
    directory.mkdir()
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for key, array in tensors.items():
        kind = {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64"}[array.dtype.str[1:]]
        end = at + array.nbytes
        header[key] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    body = b"".join(array.tobytes() for array in tensors.values())
    path = directory / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    if cfg:
        config = {"architecture": "vit_small_patch16_224", "pretrained_cfg": cfg, **more}
        (directory / "config.json").write_text(json.dumps(config))
    return path


def archive(channels):
    path = here / f"images-{channels}.h5"
    if not path.exists():
        rows = numpy.arange(64)
        program.write_h5(
            path,
            images=program.images(64, shape=(20, 20, channels)),
            labels=(rows % 3).astype("i4"),
        )
    return f"data.archive={path}"


def words(weights, out, channels=3, *more):
    return ["import", *LIGHT, archive(channels), f"weights={weights}", f"out={here / out}", *more]


def imported(name, tensors, channels, *more, cfg=SINGLE, ranks=1, **config):
    """Log and first checkpoint of an import that must end well."""
    weights = write(name, tensors, cfg, **config)
    ended = done(name, words(weights, f"run-{name}", channels, *more), ranks)
    return ended.err, program.checkpoints(here / f"run-{name}")[0]


def weight(checkpoint, name):
    return read(checkpoint, f"weights/{name}")


# ---- what is taken -------------------------------------------------------------------------------

ARGUMENTS = {"model_args": {"num_heads": 3, "drop_path_rate": 0.1}}


def test_as_they_are():
    """From import to probe; the archive is resized to the images of the weights."""
    tensors = vit()
    log, checkpoint = imported("whole", tensors, 3, ranks=2, **ARGUMENTS)
    for word in (
        "data.size=16 model=vit model.patch=4 model.width=48 model.depth=2 model.heads=3",
        "model.mlp_ratio=2",
        "classifier head of 7 classes is left out",
        "mean and std from",
    ):
        check(word in log, f"whole: the log does not say '{word}': {log}")
    for name, tensor in tensors.items():
        if not name.startswith("head."):
            check((weight(checkpoint, name) == tensor).all(), f"whole: {name} is another")
    for key, value in (("mean", 0.5), ("std", 0.25)):
        check((read(checkpoint, f"data/{key}") == value).all(), f"whole: {key}")
    embedded = here / "embedded.h5"
    done("embed", ["embed", f"checkpoint={here / 'run-whole'}", archive(3), f"out={embedded}"])
    check(read(embedded, "embeddings").shape == (64, WIDTH), "shape of the embeddings")
    probe = ["probe", f"train={embedded}", f"test={embedded}", "overlap=allow"]
    done("probe", probe)


def test_channels():
    """One channel gets the sum, more get copies that are scaled; mean and std that are the same for
    all channels are taken, others are the archive's."""
    tensors = vit()
    stem = tensors["patch_embed.proj.weight"].astype("f8")
    for channels, cfg, expected in [
        (1, SINGLE, stem.sum(1, keepdims=True)),
        (2, SEVERAL, stem[:, :2] * 3 / 2),
        (5, SINGLE, stem[:, [0, 1, 2, 0, 1]] * 3 / 5),
    ]:
        name = f"channels-{channels}"
        log, checkpoint = imported(name, tensors, channels, cfg=cfg, **ARGUMENTS)
        found = weight(checkpoint, "patch_embed.proj.weight")
        check(numpy.allclose(found, expected, atol=1e-6), f"{name}: the first convolution")
        check(f"for images of {channels} channels" in log, f"{name}: {log}")
        mean = read(checkpoint, "data/mean")
        check((mean == 0.5).all() == (cfg is SINGLE), f"{name}: mean {mean}")
        check(("those of the archive" in log) == (cfg is SEVERAL), f"{name}: {log}")


def test_given_pixels():
    """mean= and std= stand for what the file says, or does not say."""
    weights = write("given", vit(), SINGLE, **ARGUMENTS)
    pair = ["mean=0.1,0.25", "std=0.5,0.125"]
    log = done("given", words(weights, "run-given", 2, *pair)).err
    check("mean and std from mean= and std=" in log, f"given: {log}")
    checkpoint = program.checkpoints(here / "run-given")[0]
    for key, wanted in (("mean", [0.1, 0.25]), ("std", [0.5, 0.125])):
        found = read(checkpoint, f"data/{key}")
        check(numpy.allclose(found, wanted, rtol=1e-6), f"given: {key} {found}")
    for bad in (["mean=1,2,3"], ["mean=1,2", "std=1,1,1"], ["mean=0,0,0", "std=1,0,1"]):
        refused(str(bad), weights, "one for each channel", more=bad, code=2)


def test_sizes():
    """Another grid keeps the rows of the tokens before it and the mean of a constant."""
    tensors = vit()
    tensors["pos_embed"][:, 1:] = 0.5
    log, checkpoint = imported("larger", tensors, 3, "data.size=20", **ARGUMENTS)
    found = weight(checkpoint, "pos_embed")
    check(found.shape == (1, 1 + 25, WIDTH), f"larger: {found.shape}")
    check((found[:, 0] == tensors["pos_embed"][:, 0]).all(), "larger: class token")
    check(numpy.allclose(found[:, 1:], 0.5, atol=1e-6), "larger: a constant does not stay")
    check("5 x 5 patches, resampled from 4 x 4" in log, f"larger: {log}")


def test_kinds_of_blocks():
    """Positions of patches only, registers, layer scale, no biases of qkv, half precision."""
    tensors = vit(registers=2, prefix=0)
    for block in range(DEPTH):
        tensors[f"blocks.{block}.ls1.gamma"] = drawn(WIDTH)
        tensors[f"blocks.{block}.ls2.gamma"] = 2 * drawn(WIDTH)
        del tensors[f"blocks.{block}.attn.qkv.bias"]
    halves = {name: tensor.astype("f2") for name, tensor in tensors.items()}
    log, checkpoint = imported("kinds", halves, 3, **ARGUMENTS)
    check("model.registers=2" in log and "layer scale" in log, f"kinds: {log}")
    check((weight(checkpoint, "blocks.1.attn.qkv.bias") == 0).all(), "kinds: biases of qkv")
    positions = weight(checkpoint, "pos_embed")
    check((positions[:, :3] == 0).all(), "kinds: positions of prefix tokens")
    check((positions[:, 3:] == halves["pos_embed"]).all(), "kinds: positions of patches")
    for layer, scale in (("attn.proj", "ls1"), ("mlp.fc2", "ls2")):
        gamma = halves[f"blocks.1.{scale}.gamma"].astype("f4")
        for part, shape in (("weight", (-1, 1)), ("bias", -1)):
            name = f"blocks.1.{layer}.{part}"
            wanted = halves[name].astype("f4") * gamma.reshape(shape)
            check((weight(checkpoint, name) == wanted).all(), f"kinds: {name}")


def test_heads():
    """They show in no tensor: timm's are known by the architecture, others are asked for."""
    weights = write("bare", vit())
    refused("no heads", weights, "attention heads", "model.heads")
    log = done("heads given", words(weights, "run-bare", 3, "model.heads=4")).err
    check("those of the archive" in log and "model=vit" in log, f"heads given: {log}")
    log, _ = imported("named", vit(), 3)
    check("model.heads=1" in log, f"named: {log}")


# ---- what is refused -----------------------------------------------------------------------------


def refused(what, weights, *said, more=(), code=4):
    for ranks in (1, 2):
        ended = run(words(weights, "none", 3, *more), ranks)
        check(ended.code == code, f"{what}: exit code {ended.code}: {ended.tail()}")
        check(len(ended.errors) == 1, f"{what}: {ended.errors}")
        for word in said:
            check(word in "".join(ended.errors), f"{what}: does not say '{word}': {ended.errors}")


def changed(change):
    tensors = vit()
    change(tensors)
    return tensors


def test_refused():
    last = f"blocks.{DEPTH - 1}."
    gamma = {"blocks.0.ls1.gamma": drawn(WIDTH)}
    for name, change, *said in [
        ("missing", lambda t: t.pop(last + "mlp.fc2.bias"), last + "mlp.fc2.bias is missing"),
        ("one bias", lambda t: t.pop(last + "attn.qkv.bias"), last + "attn.qkv.bias is missing"),
        ("more", lambda t: t.update({last + "more": drawn(3)}), last + "more"),
        ("no class", lambda t: t.pop("cls_token"), "without a class token"),
        ("rotary", lambda t: t.pop("pos_embed"), "rotary"),
        ("before", lambda t: t.update({"norm_pre.weight": drawn(WIDTH)}), "a norm before"),
        (
            "gated",
            lambda t: t.update({"blocks.0.mlp.fc2.weight": drawn(WIDTH, WIDTH)}),
            "SwiGLU",
        ),
        ("part of the scales", lambda t: t.update(gamma), "layer scale"),
        ("no square", lambda t: t.update({"pos_embed": drawn(1, 13, WIDTH)}), "pos_embed"),
        ("norm", lambda t: t.update({"norm.weight": drawn(WIDTH - 1)}), "norm.weight", "(47)"),
        ("doubles", lambda t: t.update({"norm.bias": t["norm.bias"].astype("f8")}), "F64"),
        ("others", lambda t: t.pop("patch_embed.proj.weight"), "no encoder of this program"),
        ("nan", lambda t: t["norm.bias"].__setitem__(3, numpy.nan), "not finite"),
    ]:
        refused(name, write(name, changed(change), SINGLE, **ARGUMENTS), *said)
    for name, config, *said in [
        ("pool", {"global_pool": "map"}, "pools in another way"),
        ("norm then mean", {"global_pool": "avg"}, "no fc_norm"),
        ("activation", {"model_args": {"num_heads": 3, "act_layer": "silu"}}, "act_layer"),
    ]:
        refused(name, write(name, vit(), SINGLE, **{**ARGUMENTS, **config}), *said)
    path = write("family", vit(), SINGLE, **ARGUMENTS)
    refused("family", path, "no model=resnet18", more=["model=resnet18"])
    refused("patch", path, "patch_embed.proj.weight", more=["model.patch=8"])
    refused("size", path, "multiple of model.patch", more=["data.size=18"], code=2)
    check(not (here / "none").exists(), "a refused import left its directory")


program.at_once(
    lambda test: test(),
    [
        test_as_they_are,
        test_channels,
        test_given_pixels,
        test_sizes,
        test_kinds_of_blocks,
        test_heads,
        test_refused,
    ],
)
program.finish()
