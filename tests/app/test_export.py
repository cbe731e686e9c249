#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`export` and `import`: weights and the normalisation of pixels leave and come back, for every
kind of pixels; what the files say for timm; which files are refused."""

import json
import pathlib
import struct

import numpy

import program
from program import check, done, read, run

holder, here = program.scratch()
SEVERAL = numpy.random.default_rng(3).integers(0, 256, (64, 28, 28, 3))
ARCHIVES = {  # pixels as stored; what they are divided by in timm's images
    "u8": (SEVERAL.astype("u1"), 255),
    "i8": ((SEVERAL - 128).astype("i1"), 127),
    "u16": ((SEVERAL * 200).astype("<u2"), 65535),
    "f32": ((SEVERAL / 50 - 1).astype("<f4"), 1),
    "asinh": ((SEVERAL * 200).astype("<u2"), 1),
    "percentile": ((SEVERAL / 7 - 5).astype("<f4"), 1),
    "scaled": ((SEVERAL * 16).astype("<u2"), 4095),
}
STRETCHED = ("asinh", "percentile")
SETTINGS = {
    **{name: [f"data.stretch={name}"] for name in STRETCHED},
    "scaled": ["data.full_scale=4095"],
}


def words(name):
    return [f"data.archive={here / name}.h5", *SETTINGS.get(name, [])]


def pixels(checkpoint):
    return [read(checkpoint, f"data/{name}") for name in ("mean", "std")]


def header_of(path):
    whole = pathlib.Path(path).read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    return json.loads(whole[8 : 8 + length]), whole[8 + length :]


def write_safetensors(path, header, body):
    text = json.dumps(header).encode()
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def import_words(weights, out, name, *more):
    return ["import", *program.TINY, *words(name), f"weights={weights}", f"out={out}", *more]


def make_runs(name):
    program.write_h5(here / f"{name}.h5", images=ARCHIVES[name][0])
    (here / f"export-{name}").mkdir()
    done(
        f"train on {name}",
        ["train", *program.TINY, *words(name), "train.steps=2", f"run.dir={here / f'run-{name}'}"],
    )
    done(
        f"export of {name}",
        ["export", f"checkpoint={here / f'run-{name}'}", f"out={weights_of(name)}"],
        2,
    )


def weights_of(name):
    return here / f"export-{name}" / "model.safetensors"


# ---- what the files say --------------------------------------------------------------------------


def test_configuration(name):
    """config.json and the metadata say the same, and mean and std are those of timm's images."""
    config = json.loads((here / f"export-{name}" / "config.json").read_text())
    metadata = header_of(weights_of(name))[0]["__metadata__"]
    check(metadata.pop("format") == "pt", f"{name}: metadata's format")
    told = {
        key: json.loads(text) if text[0] in "{0123456789" else text
        for key, text in metadata.items()
    }
    check(told == config, f"{name}: metadata {told}, config.json {config}")
    check(config["architecture"].startswith("vit_"), f"{name}: {config}")
    check(
        (config["num_classes"], config["global_pool"], config["num_features"]) == (0, "token", 16),
        f"{name}: {config}",
    )
    check(
        config["model_args"]
        == {
            "img_size": 28,
            "patch_size": 7,
            "in_chans": 3,
            "embed_dim": 16,
            "depth": 1,
            "num_heads": 1,
            "mlp_ratio": 4,
            "reg_tokens": 0,
            "global_pool": "token",
            "num_classes": 0,
        },
        f"{name}: model_args {config['model_args']}",
    )
    cfg, ours = config["pretrained_cfg"], config["lejepa_mpi"]["pixels"]
    check(cfg["input_size"] == [3, 28, 28] and cfg["first_conv"], f"{name}: {cfg}")
    stored, divisor = ARCHIVES[name]
    stretch = name if name in STRETCHED else "none"
    kind = {"percentile": "f32", "asinh": "u16", "scaled": "u16"}.get(name, name)
    check(
        (ours["type"], ours["divided_by"], ours["stretch"]) == (kind, divisor, stretch),
        f"{name}: {ours}",
    )
    images = stored.astype("f8") / divisor
    check(("low" in ours and "high" in ours) == (name in STRETCHED), f"{name}: limits in {ours}")
    if name in STRETCHED:
        low, high = (numpy.array(ours[key]) for key in ("low", "high"))
        checkpoint = program.checkpoints(here / f"run-{name}")[-1]
        same = all((read(checkpoint, f"data/{key}") == ours[key]).all() for key in ("low", "high"))
        check(same, f"{name}: limits {ours} are not the checkpoint's")
        images = (images - low) / (high - low)
        images = numpy.arcsinh(images) if name == "asinh" else numpy.clip(images, 0, 1)
    for key, wanted in (("mean", images.mean((0, 1, 2))), ("std", images.std((0, 1, 2)))):
        check(
            numpy.allclose(cfg[key], wanted, rtol=1e-5), f"{name}: {key} {cfg[key]}, not {wanted}"
        )


# ---- there and back ------------------------------------------------------------------------------


def test_round_trip(name):
    """export, import, embed: the embeddings of the run, though the import sees half of its
    rows, whose statistics are others."""
    run_dir, imported = here / f"run-{name}", here / f"imported-{name}"
    program.write_h5(here / f"half-{name}.h5", images=ARCHIVES[name][0][:32])
    half = [f"data.archive={here / f'half-{name}'}.h5"]
    ended = done("import", import_words(weights_of(name), imported, name, *half, "seed=5"), 2)
    check(f"mean and std from {weights_of(name)}" in ended.err, f"{name}: {ended.tail()}")
    checkpoint, original = program.checkpoints(imported)[0], program.checkpoints(run_dir)[-1]
    check(checkpoint.name == "step-000000000.h5", f"{name}: import made {checkpoint.name}")
    for found, wanted in zip(pixels(checkpoint), pixels(original)):
        check(numpy.allclose(found, wanted, rtol=3e-7), f"{name}: pixels {found}, not {wanted}")
    for limit in ("low", "high") if name in STRETCHED else ():
        found, wanted = (read(path, f"data/{limit}") for path in (checkpoint, original))
        check((found == wanted).all(), f"{name}: {limit} {found}, not {wanted}")
    found, wanted = (program.tensors(path, ["weights"]) for path in (checkpoint, original))
    differ = [key for key in wanted if "projector" not in key and found[key] != wanted[key]]
    check(not differ, f"{name}: these weights differ: {differ}")
    for directory in (run_dir, imported):
        done(
            "embed",
            [
                "embed",
                f"checkpoint={directory}",
                f"out={directory}.h5",
                f"data.archive={here / name}.h5",
            ],
        )
    found, wanted = (read(f"{path}.h5", "embeddings") for path in (imported, run_dir))
    check(
        numpy.abs(found - wanted).max() < 1e-5 and wanted.std(0).max() > 0.01,
        f"{name}: embeddings differ by {numpy.abs(found - wanted).max()}",
    )


def test_other_pixels():
    """timm's units are the same whatever the archive: u8 weights for u16 images."""
    imported = here / "u8-for-u16"
    done("import", import_words(weights_of("u8"), imported, "u16"))
    found = pixels(program.checkpoints(imported)[0])
    wanted = pixels(program.checkpoints(here / "run-u8")[-1])
    for a, b in zip(found, wanted):
        check(numpy.allclose(a, b * 65535, rtol=1e-6), f"u8 for u16: {a}, not 65535 times {b}")


def bare(name):
    """The export of u8 without metadata, in a directory of its own."""
    directory = here / name
    directory.mkdir()
    header, body = header_of(weights_of("u8"))
    del header["__metadata__"]
    write_safetensors(directory / "model.safetensors", header, body)
    return directory, directory / "model.safetensors"


def test_config_beside():
    """config.json serves a file without metadata: ours, and timm's own of older and newer form."""
    cfg = {"mean": [0.5, 0.25, 0.125], "std": [0.25, 0.5, 0.75], "num_classes": 0}
    for name, config in [
        ("new-form", {"architecture": "vit", "pretrained_cfg": cfg}),
        ("old-form", {"architecture": "vit", **cfg}),
    ]:
        directory, weights = bare(name)
        (directory / "config.json").write_text(json.dumps(config))
        ended = done("import", import_words(weights, here / f"i-{name}", "u8"))
        check(f"mean and std from {directory / 'config.json'}" in ended.err, ended.tail())
        found = pixels(program.checkpoints(here / f"i-{name}")[0])
        check([list(x) for x in found] == [cfg["mean"], cfg["std"]], f"{name}: {found}")


def test_nothing_said():
    """Without a word on pixels the archive's statistics stay, as after another stretch."""
    directory, weights = bare("silent")
    (directory / "config.json").write_text('{"architectures": ["of somebody else"]}')
    ended = done("import", import_words(weights, here / "i-silent", "u8"))
    check("those of the archive" in ended.err, ended.tail())
    wanted = pixels(program.checkpoints(here / "run-u8")[-1])
    found = pixels(program.checkpoints(here / "i-silent")[0])
    check(all((a == b).all() for a, b in zip(found, wanted)), f"silent: {found}, not {wanted}")
    ended = done("import", import_words(weights_of("u16"), here / "i-stretch", "asinh"))
    check(len(ended.warnings) == 1 and "data.stretch=none" in ended.warnings[0], ended.tail())
    wanted = pixels(program.checkpoints(here / "run-asinh")[-1])
    found = pixels(program.checkpoints(here / "i-stretch")[0])
    check(all((a == b).all() for a, b in zip(found, wanted)), f"stretch: {found}, not {wanted}")


# ---- what is refused -----------------------------------------------------------------------------


def refused(what, words, code, *said):
    for ranks in (1, 2):
        ended = run(words, ranks)
        check(
            ended.code == code,
            f"{what} on {ranks} ranks: exit code {ended.code}, expected {code}: {ended.tail()}",
        )
        check(len(ended.errors) == 1, f"{what} on {ranks} ranks: {ended.errors}")
        for word in said:
            check(word in "".join(ended.errors), f"{what}: does not say '{word}': {ended.errors}")


def test_config_of_others():
    """An export does not replace a config.json that is not its own; its own it does."""
    directory = here / "others"
    directory.mkdir()
    text = '{"architectures": ["of somebody else"]}'
    (directory / "config.json").write_text(text)
    refused(
        "config.json of others",
        ["export", f"checkpoint={here / 'run-u8'}", f"out={directory / 'w.safetensors'}"],
        2,
        "others/config.json",
        "directory of its own",
    )
    check((directory / "config.json").read_text() == text, "config.json of others was replaced")
    check(not (directory / "w.safetensors").exists(), "weights without their config.json")


def test_refused():
    header, body = header_of(weights_of("u8"))
    for name, change, said in [
        ("channels", {"mean": [0.5]}, ["1 numbers as mean", "3 channels"]),
        ("deviation", {"std": [0.5, 0, 0.5]}, ["std of channel 1"]),
        ("words", {"mean": ["a", "b", "c"]}, ["mean of channel 0"]),
    ]:
        changed = json.loads(json.dumps(header))
        cfg = {**json.loads(changed["__metadata__"]["pretrained_cfg"]), **change}
        changed["__metadata__"]["pretrained_cfg"] = json.dumps(cfg)
        path = here / f"{name}.safetensors"
        write_safetensors(path, changed, body)
        refused(name, import_words(path, here / "none", "u8"), 4, *said)
    directory, weights = bare("syntax")
    (directory / "config.json").write_text("{")
    refused("syntax", import_words(weights, here / "none", "u8"), 4, "config.json", "not JSON")
    more = ["model.heads=2"]
    refused("heads", import_words(weights_of("u8"), here / "none", "u8", *more), 4, "num_heads 1")
    start = ["train", *program.TINY, *words("u8"), *more, "train.steps=1"]
    for source, said in ((weights_of("u8"), "num_heads 1"), (here / "run-u8", "heads 1")):
        refused("heads", [*start, f"init={source}", f"run.dir={here / 'none-2'}"], 4, said)
    check(not (here / "none").exists(), "a refused import left its directory")


program.at_once(make_runs, list(ARCHIVES))
program.at_once(test_configuration, list(ARCHIVES))
program.at_once(test_round_trip, list(ARCHIVES))
program.at_once(
    lambda test: test(),
    [
        test_other_pixels,
        test_config_beside,
        test_nothing_said,
        test_config_of_others,
        test_refused,
    ],
)
program.finish()
