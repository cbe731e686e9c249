#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`import` of weights as timm writes them: the encoder is found, weights are adapted to other
channels and sizes, `embed` and `probe` take the run; what is refused, and by what name.
tests/golden/check_import.py compares the embeddings with timm's."""

import json
import struct

import h5py
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


def resnet(small=False):
    """Tensors of a residual network of 8 features and a block a stage."""
    tensors = {"fc.weight": drawn(7, 64), "fc.bias": drawn(7)}

    def layer(conv, norm, out, width, kernel):
        tensors[f"{conv}.weight"] = drawn(out, width, kernel, kernel)
        tensors[f"{norm}.num_batches_tracked"] = numpy.array([3], "i8")
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"{norm}.{part}"] = numpy.ones(out, "f4")

    layer("conv1", "bn1", 8, 3, 3 if small else 7)
    for stage in range(4):
        out, width, at = 8 << stage, 8 << max(stage - 1, 0), f"layer{stage + 1}.0"
        layer(f"{at}.conv1", f"{at}.bn1", out, width, 3)
        layer(f"{at}.conv2", f"{at}.bn2", out, out, 3)
        if stage:
            layer(f"{at}.downsample.0", f"{at}.downsample.1", out, width, 1)
    return tensors


def convnext(patch):
    """Tensors of a ConvNeXt-V2 of 8 features and a block a stage."""
    tensors = {"stem.0.weight": drawn(8, 3, patch, patch), "stem.0.bias": drawn(8)}

    def layer(name, out, *inner):
        tensors[f"{name}.weight"] = drawn(out, *inner) if inner else numpy.ones(out, "f4")
        tensors[f"{name}.bias"] = drawn(out)

    layer("stem.1", 8)
    for stage in range(4):
        out, at = 8 << stage, f"stages.{stage}"
        if stage:
            layer(f"{at}.downsample.0", out // 2)
            layer(f"{at}.downsample.1", out, out // 2, 2, 2)
        layer(f"{at}.blocks.0.conv_dw", out, 1, 7, 7)
        layer(f"{at}.blocks.0.norm", out)
        layer(f"{at}.blocks.0.mlp.fc1", 4 * out, out)
        layer(f"{at}.blocks.0.mlp.grn", 4 * out)
        layer(f"{at}.blocks.0.mlp.fc2", out, 4 * out)
    layer("head.norm", 64)
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


def resized(tensors, width):
    """The tensors and their shapes in a transformer of that width."""
    for name, tensor in tensors.items():
        yield name, tensor, [width * n // WIDTH if n % WIDTH == 0 else n for n in tensor.shape]


def test_layouts():
    """Positions of all tokens or of patches only: the size of the images tells them apart."""
    for name, size, rows, grid in [("patches", 12, 9, 3), ("tokens", 8, 9, 2), ("all", 12, 14, 3)]:
        tensors = vit(registers=4)
        tensors["pos_embed"] = drawn(1, rows, WIDTH)
        cfg = {**SINGLE, "input_size": [3, size, size]}
        _, checkpoint = imported(name, tensors, 3, cfg=cfg, **ARGUMENTS)
        found = weight(checkpoint, "pos_embed")
        check(found.shape == (1, 5 + grid**2, WIDTH), f"{name}: {found.shape}")
        check((found[:, -(grid**2) :] == tensors["pos_embed"][:, -(grid**2) :]).all(), name)
    tensors["pos_embed"] = drawn(1, 9, WIDTH)
    unsaid = {name: SINGLE[name] for name in ("mean", "std")}
    refused("layouts", write("layouts", tensors, unsaid, **ARGUMENTS), "nothing says which")
    said = {"model_args": {"num_heads": 3, "no_embed_class": True}}
    _, checkpoint = imported("said", tensors, 3, cfg=unsaid, **said)
    check(weight(checkpoint, "pos_embed").shape == (1, 5 + 9, WIDTH), "said: shape")


def test_names():
    """What a name cannot show is warned about: one that is missing, or that model= overrides."""
    heads = {"model_args": {"num_heads": 3}}
    model = ["model=vit", "model.width=48", "model.depth=2", "model.heads=3", "model.mlp_ratio=2"]
    log, _ = imported("own", vit(), 3, *model, architecture="my_vit", **heads)
    check("my_vit" in log and "taken as one" in log, f"own: {log}")
    log, _ = imported("nameless", vit(), 3, "model.heads=3", architecture="")
    check("nothing names its architecture" in log, f"nameless: {log}")
    log, _ = imported("nameless resnet", resnet(), 3, "data.size=32", architecture="")
    check("nothing names its architecture" in log, f"nameless resnet: {log}")
    ours = {"architecture": "", "lejepa_mpi": {"version": "0"}}
    log, _ = imported("of this program", convnext(8), 3, "data.size=64", **ours)
    check("model.patch=8" in log and "nothing names" not in log, f"of this program: {log}")
    log, _ = imported("tagged", vit(), 3, architecture="vit_small_patch14_reg4_dinov2.x", **heads)
    check("nothing names" not in log and "taken as one" not in log, f"tagged: {log}")


def test_heads():
    """They show in no tensor: timm's are known by the architecture, others are asked for."""
    weights = write("bare", vit())
    refused("no heads", weights, "attention heads", "model.heads")
    log = done("heads given", words(weights, "run-bare", 3, "model.heads=4")).err
    check("those of the archive" in log and "model=vit" in log, f"heads given: {log}")
    refused("arguments", write("wide", vit(), SINGLE), "attention heads", "model.heads")
    small = {name: numpy.resize(tensor, shape) for name, tensor, shape in resized(vit(), 384)}
    log, _ = imported("named", small, 3)
    check("model.heads=6" in log, f"named: {log}")


def test_training():
    """`train` continues from what was imported, with a hold-out if import had one."""
    shape = (
        "data.size=16 model=vit model.patch=4 model.width=48 model.depth=2 model.heads=3 "
        "model.mlp_ratio=2 train.steps=2"
    ).split()
    for name, more in (
        ("plain", []),
        ("evaluates", ["eval.every=2"]),
        ("supervised", ["objective=supervised", "eval.every=2"]),
    ):
        imported(f"trained-{name}", vit(), 3, "train.steps=2", *more, **ARGUMENTS)
        place = f"run.dir={here / f'run-trained-{name}'}"
        done(name, ["train", *LIGHT, archive(3), place, *shape, *more])
        last = program.checkpoints(here / f"run-trained-{name}")[-1]
        with h5py.File(last) as file:
            made = json.loads(file.attrs["provenance"])
            check(file.attrs["step"] == 2, f"{name}: {dict(file.attrs)}")
        check("weights_from" in made, f"{name}: trained from other weights: {made}")


def test_classifier():
    """Of a supervised run the encoder is imported; its classifier starts random."""
    tensors = {**vit(), "projector.0.weight": drawn(3, WIDTH), "projector.0.bias": drawn(3)}
    log, checkpoint = imported("classifier", tensors, 3, "objective=supervised", **ARGUMENTS)
    check("the classifier starts random" in log, f"classifier: {log}")
    check((weight(checkpoint, "norm.bias") == tensors["norm.bias"]).all(), "another encoder")
    found = weight(checkpoint, "projector.0.weight")
    check(found.shape == (3, WIDTH), f"classifier: {found.shape}")
    check((found != tensors["projector.0.weight"]).any(), "classifier: that of the file")


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


def test_pixels():
    """Values that are not in 0..1 as those of mean and std are named, unless they are meant so."""
    weights = write("units", vit(), SINGLE, **ARGUMENTS)
    images = program.images(16, shape=(16, 16, 3))
    for name, array, scale in [
        ("of 255", images.astype("f4"), 255),
        ("12 bits", images.astype("u2") * 16, 4095),
    ]:
        stored = program.write_h5(here / f"{name}.h5", images=array)
        more = [f"data.archive={stored}"]
        refused(name, weights, "data.full_scale", "0 .. ", more=more, code=3)
        done(name, words(weights, f"run-{name}", 3, *more, f"data.full_scale={scale}"))
        log = done(name, words(weights, f"run-{name} as is", 3, *more, "data.full_scale=1")).err
        check("warning" in log and "data.full_scale" in log, f"{name} as it is: {log}")
    for key, value in (("std", 1e-60), ("std", 1e-42), ("mean", 3e38)):
        name = f"{key} {value}"
        cfg = {**SINGLE, key: [value] * 3}
        refused(name, write(name, vit(), cfg, **ARGUMENTS), "of single precision")
    refused("tiny", weights, "single precision", more=["mean=0,0,0", "std=1,1,1e-60"], code=2)


def test_not_finite():
    """Weights that are finite, but whose embeddings are not: no file is made of them."""
    huge = changed(lambda t: t[f"blocks.{DEPTH - 1}.mlp.fc2.weight"].fill(3e38))
    imported("huge", huge, 3, **ARGUMENTS)
    out = here / "huge.h5"
    for ranks in (1, 2):
        embed = ["embed", f"checkpoint={here / 'run-huge'}", archive(3), f"out={out}"]
        ended = run(embed, ranks)
        check(ended.code == 5 and len(ended.errors) == 1, f"huge: {ended.code}: {ended.tail()}")
        check("row 0 is not finite" in "".join(ended.errors), f"huge: {ended.errors}")
        check(not out.exists(), "huge: embeddings that are not finite were kept")


def deep(pattern):
    return {pattern.format(block): drawn(0) for block in range(1, 1100)}


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
        ("stray scale", lambda t: t.update({"more.ls1.gamma": drawn(3)}), "more.ls1.gamma"),
        ("head", lambda t: t.update({"head.0.weight": drawn(3)}), "head.0.weight"),
        ("deep", lambda t: t.update(deep("blocks.{}.norm1.weight")), "more than 1024"),
    ]:
        refused(name, write(name, changed(change), SINGLE, **ARGUMENTS), *said)
    for name, config, *said in [
        ("pool", {"global_pool": "map"}, "pools in another way"),
        ("norm then mean", {"global_pool": "avg"}, "no fc_norm"),
        ("pool of the weights", {"pretrained_cfg": {**SINGLE, "global_pool": "map"}}, "pools in"),
        ("oblong", {"pretrained_cfg": {**SINGLE, "input_size": [3, 8, 32]}}, "not square"),
        ("list", {"model_args": {"num_heads": 3, "img_size": [8, 32]}}, "not square"),
        ("rpn", {"architecture": "vit_base_patch16_rpn_224"}, "not among", "_rpn_"),
        ("gelu", {"architecture": "vit_base_patch16_clip_quickgelu_224"}, "not among"),
        ("own name", {"architecture": "my_own_vit"}, "not among", "model=vit"),
        ("cut name", {"architecture": "vit__rpn"}, "not among"),
        ("activation", {"model_args": {"num_heads": 3, "act_layer": "silu"}}, "act_layer"),
    ]:
        refused(name, write(name, vit(), SINGLE, **{**ARGUMENTS, **config}), *said)
    for name, tensors, config, *said in [
        ("max", resnet(), {"pretrained_cfg": {**SINGLE, "global_pool": "max"}}, "pools in"),
        ("top", resnet(), {"global_pool": "max"}, "pools in"),
        ("small max", resnet(small=True), {"model_args": {"global_pool": "max"}}, "pools in"),
        ("stages", {**resnet(), **deep("layer2.{}.conv1.weight")}, {}, "more than 256"),
        ("variance", {**resnet(), "bn1.running_var": -numpy.ones(8, "f4")}, {}, "below zero"),
        ("convnext max", convnext(4), {"global_pool": "max"}, "pools in"),
        ("dilated", convnext(8), {}, "8 pixels or more"),
    ]:
        config = {"architecture": "none", **config}
        refused(name, write(name, tensors, SINGLE, **config), *said, more=["data.size=64"])
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
        test_layouts,
        test_names,
        test_heads,
        test_pixels,
        test_not_finite,
        test_classifier,
        test_refused,
        test_training,
    ],
)
program.finish()
