#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws results.svg, the figure of README.md, from the two tables of README.md's section "Results".

    results.py README.md OUT.svg

The tables are the only place of the numbers; tests/app/test_docs.py compares the committed figure
with what this script draws.
"""

import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, TOP = 900, 364, 84
OURS, OTHER, LIGHT, INK, GRID = "#1b6ca8", "#a8b3bd", "#8fbfe0", "#1f2933", "#e4e8eb"
BAR, GAP, GROUP = 14, 2, 44  # pixels: of a bar, between bars, from one group of bars to the next


def table(text, first):
    """The rows of the Markdown table whose first column has this name, without its header."""
    rows = []
    for line in text.split("\n"):
        cells = (
            [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        )
        if cells and (rows or cells[0] == first):
            rows.append(cells)
        elif rows:
            return rows[2:]
    sys.exit(f"README.md has no table whose first column is '{first}'")


def label(x, y, text, size=12, anchor="start", colour=INK, weight="normal"):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def box(x, y, width, height, colour):
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def legend(x, entries):
    parts = []
    for colour, text in entries:
        parts += [box(x, 50, 12, 12, colour), label(x + 17, 60, text, 12)]
        x += 34 + 6.4 * len(text)
    return parts


def panel(left, width, title, entries, groups, most, step, digits):
    """Groups of bars to the right of their names; a group: name, values, and a mark or None."""
    parts = [label(left, 30, title, 14, weight="bold"), *legend(left, entries)]
    start = left + 150
    scale = (width - 150 - 40) / most
    bottom = TOP + GROUP * len(groups) - 8
    tick = 0
    while tick <= most + 1e-9:
        x = start + tick * scale
        parts.append(f'<path d="M{x:.1f} {TOP - 8}V{bottom}" stroke="{GRID}"/>')
        parts.append(label(x, bottom + 16, f"{tick:.{digits}f}", 11, "middle"))
        tick += step
    for number, (name, values, mark) in enumerate(groups):
        y = TOP + number * GROUP
        height = len(values) * (BAR + GAP) - GAP
        parts.append(label(start - 8, y + height / 2 + 4, name, 12, "end"))
        for (colour, _), value in zip(entries, values):
            end, text = start + value * scale, f"{value:.{3 if most <= 1 else 0}f}"
            ink = "white" if colour == OURS else INK
            parts.append(box(start, y, end - start, BAR, colour))
            parts.append(label(end - 5, y + BAR - 3, text, 11, "end", ink))
            y += BAR + GAP
        if mark is not None:
            x = start + mark * scale
            parts.append(
                f'<path d="M{x:.1f} {y - height - GAP - 3}V{y + 1}" '
                f'stroke="{INK}" stroke-width="2"/>'
            )
    return parts


def draw(text):
    speed, learning = [], []
    for encoder, precision, ours, peer, _, matmul in table(text, "encoder and image size"):
        name = encoder.replace("ViT width 192, depth 6", "width 192")
        speed.append((f"{name}, {precision}", [float(ours), float(peer)], float(matmul)))
    for data, first in (("Fashion-MNIST", 1), ("blood cells", 3)):
        for row in table(text, "features"):
            name = row[0].replace("encoder, ", "").replace("raw ", "")
            values = [float(cell) for cell in row[first : first + 2]]
            learning.append((f"{data}, {name}", values, None))
    rates = [(OURS, "lejepa_mpi"), (OTHER, "PyTorch"), (INK, "best matmul")]
    parts = panel(20, 500, "Training step on one core, GFLOP/s", rates, speed, 600, 200, 0)
    probes = [(OURS, "kNN"), (LIGHT, "linear probe")]
    parts += panel(555, 340, "Test accuracy of frozen features", probes, learning, 1, 0.5, 1)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif">\n'
        f"<title>Speed beside PyTorch, and accuracy beside untrained features and pixels</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as readme:
        figure = draw(readme.read())
    with open(sys.argv[2], "w", encoding="utf-8") as out:
        out.write(figure)


if __name__ == "__main__":
    main()
