# SPDX-License-Identifier: Apache-2.0
"""Pages that the program writes, read by the tests of report and of scale."""

import html.parser
import os
import pathlib
import urllib.parse

from program import check

VOID = {"meta", "img", "br", "link"}
OPTIONAL_END = {"tr", "td", "th"}  # as HTML allows


class Page(html.parser.HTMLParser):
    """Elements, checked for nesting, and the cells of the tables of each figure, row by row."""

    def __init__(self, path):
        super().__init__()
        self.path, self.open, self.figures, self.images, self.tags = path, [], [], [], []
        self.figure_tables, self.in_cell = [], False
        self.text, self.problems = "", []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        if self.open:
            self.problems.append(f"not closed: {self.open}")

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "figure":
            self.figures.append([])
            self.figure_tables.append([])
        elif self.figures and "figure" in self.open:
            self.figures[-1].append(tag)
        if self.figure_tables and "figure" in self.open:
            self.begin_in_table(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID | OPTIONAL_END:
            self.open.append(tag)

    def begin_in_table(self, tag):
        tables = self.figure_tables[-1]
        if tag == "table":
            tables.append([])
        elif tag == "tr":
            tables[-1].append([])
        elif tag in ("td", "th"):
            tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        if tag in OPTIONAL_END:
            self.in_cell = False
            return
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.text += data
        if self.in_cell:
            self.figure_tables[-1][-1][-1][-1] += data


def read_page(what, path):
    page = Page(path)
    check(not page.problems, f"{what}: {page.problems[:3]}")
    for tags in page.figures:
        check("table" in tags and "figcaption" in tags, f"{what}: a figure has only {tags}")
    for image in page.images:
        check(image.get("alt"), f"{what}: no alt text: {image}")
        target = path.parent / urllib.parse.unquote(image["src"])
        check(target.is_file(), f"{what}: no picture {target}")
    check("script" not in page.tags and "link" not in page.tags, f"{what}: {set(page.tags)}")
    check("http" not in page.text, f"{what}: an address of the network")
    return page


def without_gnuplot(programs):
    """An environment whose PATH is a new directory of links to all other programs."""
    programs.mkdir()
    for directory in map(pathlib.Path, os.get_exec_path()):
        for path in directory.iterdir() if directory.is_dir() else ():
            if path.name != "gnuplot" and not (programs / path.name).is_symlink():
                (programs / path.name).symlink_to(path)
    return {"PATH": str(programs)}
