#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`train init=`: a run that starts from the weights of a file, what it says of that, and which
files it refuses."""

import json
import struct

import h5py
import numpy

import program
from program import check, done, train

holder, here = program.scratch()
data = f"data.archive={program.archive(here / 'archive.h5')}"
source, export = here / "source", here / "encoder.safetensors"
STILL = ["optim.lr=0", "optim.lr_floor=0", "train.steps=1", "seed=7"]  # a step that moves nothing


def weights(directory):
    return program.tensors(program.checkpoints(directory)[-1], ["weights"])


def provenance(directory):
    with h5py.File(program.checkpoints(directory)[-1]) as file:
        text = file.attrs["provenance"]
    return json.loads(text.decode() if isinstance(text, bytes) else text)


def differing(found, wanted, words=("",)):
    """Tensors with one of the words in their names whose bytes differ. Running statistics move in
    every step."""
    return [
        name
        for name in wanted
        if any(word in name for word in words)
        and "running" not in name
        and found[name] != wanted[name]
    ]


def make_sources():
    done("the source", ["train", *program.TINY, data, f"run.dir={source}", "train.steps=3"])
    done("export", ["export", f"checkpoint={source}", f"out={export}"])
    (here / "named.safetensors").write_bytes(program.checkpoints(source)[-1].read_bytes())
    (here / "named.h5").write_bytes(export.read_bytes())


# ---- what starts ---------------------------------------------------------------------------------


def test_start(case):
    """Every kind of file, whatever its name, on one rank and on two."""
    name, whole, ranks = case
    what, directory = f"init={name} on {ranks} ranks", here / f"from-{name}-{ranks}"
    ended = train(directory, data, *STILL, f"init={here / name}", ranks=ranks)
    if not check(ended.code == 0, f"{what}: exit code {ended.code}: {ended.tail()}"):
        return
    found, wanted = weights(directory), weights(source)
    check(len(found) == len(wanted) > 10, f"{what}: {len(found)} tensors")
    encoder = [key for key in wanted if "projector" not in key]
    check(not differing(found, wanted, encoder), f"{what}: {differing(found, wanted, encoder)}")
    differ = differing(found, wanted, ["projector.0.weight", "projector.4.weight"])
    check(bool(differ) != whole, f"{what}: the projector's {differ} differ")
    drawn = weights(here / f"drawn-{ranks}")
    same = [key for key in differ if found[key] != drawn[key]]
    check(not same, f"{what}: the projector is not that of the seed: {same}")
    steps = [row["step"] for row in program.metrics(directory)]
    check(steps == [1], f"{what}: metrics of steps {steps}")

    noted = provenance(directory)["weights_from"]
    check(noted["projector"] is whole, f"{what}: the checkpoint says {noted}")
    check(name in noted["file"] and len(noted["xxh3"]) == 16, f"{what}: {noted}")
    log = (directory / "log.txt").read_text()
    check(noted["file"] in log and noted["xxh3"] in log, f"{what}: the log has no {noted}")
    check(("starts random" in log) != whole, f"{what}: the log on the projector: {log}")


def test_drawn(ranks):
    done(
        "drawn weights",
        ["train", *program.TINY, data, *STILL, f"run.dir={here / f'drawn-{ranks}'}"],
        ranks,
    )
    check("weights_from" not in provenance(here / f"drawn-{ranks}"), "drawn weights have a source")


def test_same_bits():
    """Trained on from the file: the same on any number of ranks."""
    found = []
    for ranks in (1, 2, 3):
        directory = here / f"bits-{ranks}"
        ended = train(directory, data, "train.steps=3", f"init={export}", ranks=ranks)
        check(ended.code == 0, f"init on {ranks} ranks: {ended.tail()}")
        found.append(program.tensors(program.checkpoints(directory)[-1]))
    check(found[0] == found[1] == found[2], "init: other bits on other numbers of ranks")
    with h5py.File(program.checkpoints(here / "bits-1")[-1]) as file:
        moment = file["optim/moment1/blocks.0.attn.qkv.weight"][()]
    check(numpy.abs(moment).max() > 0, "no moments after three steps")


def test_continue():
    """A run with init= is refused where it would not start from it, and continues without it as if
    it had not been interrupted."""
    straight = here / "straight"
    words = [data, "train.steps=4", "checkpoint.every=2"]
    ended = train(straight, *words, f"init={export}", ranks=2)
    check(ended.code == 0, f"straight: {ended.tail()}")
    noted, wanted = provenance(straight), program.tensors(program.checkpoints(straight)[-1])
    directory = program.copy(straight, here / "continued")
    program.checkpoints(directory)[-1].unlink()

    again = train(directory, *words, f"init={export}", ranks=2)
    check(again.code == 2, f"init= of a run with checkpoints: exit code {again.code}")
    check(
        len(again.errors) == 1
        and "continue from" in again.errors[0]
        and "step-000000002.h5" in again.errors[0],
        f"init= of a run with checkpoints: {again.errors}",
    )
    names = [path.name for path in program.checkpoints(directory)]
    check(names == ["step-000000002.h5"], f"the refused run left {names}")
    second = train(directory, *words)
    check(second.code == 0 and "continuing" in second.err, f"second part: {second.tail()}")
    check(
        provenance(directory).get("weights_from") == noted["weights_from"],
        f"the source is forgotten on the way: {provenance(directory)}",
    )
    check(
        program.tensors(program.checkpoints(directory)[-1]) == wanted,
        "interrupted and straight runs from a file differ",
    )


# ---- what is refused -----------------------------------------------------------------------------


def changed(name, change):
    """The export with its header and bytes changed."""
    whole = export.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header, body = json.loads(whole[8 : 8 + length]), bytearray(whole[8 + length :])
    change(header, body)
    text = json.dumps(header).encode()
    (here / name).write_bytes(struct.pack("<Q", len(text)) + text + body)


def rename_one(header, body):
    header["blocks.0.norm9.weight"] = header.pop("blocks.0.norm1.weight")


def half_a_projector(header, body):
    header["projector.0.weight"] = {
        "dtype": "F32",
        "shape": [1],
        "data_offsets": [len(body), len(body) + 4],
    }
    body += b"\0" * 4


def one_nan(header, body):
    at = header["blocks.0.mlp.fc1.bias"]["data_offsets"][0]
    body[at + 8 : at + 12] = struct.pack("<f", float("nan"))


REFUSED = [  # file or directory, settings, words of the message
    ("lacking.safetensors", [], ["blocks.0.norm1.weight is missing"]),
    ("half.safetensors", [], ["projector.0.weight"]),
    ("nan.safetensors", [], ["element 2 of tensor blocks.0.mlp.fc1.bias", "not finite"]),
    ("encoder.safetensors", ["model.width=32"], ["(16, 1, 7, 7)", "(32, 1, 7, 7)"]),
    ("encoder.safetensors", ["data.size=42"], ["pos_embed", "(1, 17, 16)", "(1, 37, 16)"]),
    ("source", ["projector.hidden=24"], ["projector.", "(16", "(24"]),
    ("source", ["model.depth=2"], ["blocks.1."]),
    ("cut.h5", [], ["cut.h5"]),
    ("torch.pt", [], ["torch.pt", "not a safetensors file"]),
    ("gone.h5", [], ["gone.h5", "No such file"]),
    ("empty", [], ["empty", "holds no checkpoint"]),
]


def make_refused():
    changed("lacking.safetensors", rename_one)
    changed("half.safetensors", half_a_projector)
    changed("nan.safetensors", one_nan)
    (here / "cut.h5").write_bytes(program.checkpoints(source)[-1].read_bytes()[:5000])
    (here / "torch.pt").write_bytes(b"PK\x03\x04" + bytes(range(256)))
    (here / "empty").mkdir()


def test_refused(case):
    number, (name, words, said), ranks = case
    what, directory = f"init={name} {words} on {ranks} ranks", here / f"refused-{number}-{ranks}"
    ended = train(directory, data, *words, "train.steps=1", f"init={here / name}", ranks=ranks)
    check(ended.code == 4, f"{what}: exit code {ended.code}, expected 4: {ended.tail()}")
    check(len(ended.errors) == 1, f"{what}: {len(ended.errors)} error lines: {ended.tail()}")
    for word in said:
        check(word in "".join(ended.errors), f"{what}: does not say '{word}': {ended.errors}")
    check(not program.checkpoints(directory), f"{what}: left a checkpoint")


def test_other_commands():
    ended = program.run(["embed", f"checkpoint={source}", f"out={here / 'e.h5'}", f"init={export}"])
    check(ended.code == 2 and "init=" in ended.err, f"embed init=: {ended.tail()}")


make_sources()
make_refused()
program.at_once(test_drawn, [1, 2])
program.at_once(
    test_start,
    [
        (name, whole, ranks)
        for ranks in (1, 2)
        for name, whole in [
            ("source", True),
            ("named.safetensors", True),
            ("encoder.safetensors", False),
            ("named.h5", False),
        ]
    ],
)
program.at_once(lambda test: test(), [test_same_bits, test_continue, test_other_commands])
program.at_once(
    test_refused, [(i, case, ranks) for i, case in enumerate(REFUSED) for ranks in (1, 2)]
)
program.finish()
