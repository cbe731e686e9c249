#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The documents say what is so: the step quoted in README.md, its commands, settings and exit
codes, its figure, and every path and link; the modules in src/README.md; commands, settings and
their values in the messages of the program.

    test_docs.py PROGRAM ROOT            one line per complaint, exit 1 if any
    test_docs.py PROGRAM ROOT --update   first writes the quoted step and the figure anew
"""

import ast
import pathlib
import re
import subprocess
import sys

PROGRAM, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
DOCUMENTS = ["README.md", "src/README.md", "tests/bench/RESULTS.md"]
STEP, FUNCTION = "src/train/step.c", "lj_trainer_step"
FIGURE = "tests/bench/figures/results.svg"
QUOTE = re.compile(rf"(<!-- quoted from {STEP}: {FUNCTION} -->\n```c\n)(.*?)(```)", re.S)
# Of files, whose names look like keys.
SUFFIXES = r"c|h|py|sh|md|h5|json|jsonl|yaml|txt|build|svg|png"
OUTSIDE = {"mpi.h"}  # headers of others

sys.path.insert(0, str(ROOT / "tests/bench/figures"))
import results  # noqa: E402


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def section(text, title):
    return re.search(rf"^#+ {title}$(.*?)(?=^## |\Z)", text, re.S | re.M)[1]


def code_of(text):
    """Inline code and indented blocks, without quoted C and BibTeX."""
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"^ {4}@.*?^ {4}}$", "", text, flags=re.S | re.M)
    blocks = re.findall(r"(?:(?<=\n\n)|(?<=\A))(?: {4}.*\n|\n(?= {4}))+", text)
    return re.findall(r"`([^`\n]+)`", text) + blocks


# ---- the step -----------------------------------------------------------------------------------


def step_source():
    found = re.search(rf"^[\w ]*\b{FUNCTION}\(.*?^}}\n", read(STEP), re.S | re.M)
    return found[0] if found else sys.exit(f"{STEP}: no function {FUNCTION}")


def check_step():
    quote = QUOTE.search(read("README.md"))
    if not quote or quote[2].split() != step_source().split():
        yield f"README.md: the quoted step is not {FUNCTION} of {STEP}; --update writes it"


# ---- what the program knows ---------------------------------------------------------------------


def ask_program():
    """Its commands and its keys."""
    text = subprocess.run([PROGRAM, "help"], check=True, capture_output=True, text=True).stdout
    usage, keys = text.split("\n\n")[1], re.findall(r"^([a-z][\w.]*)=", text, re.M)
    return set(re.findall(r"^  (\w+)", usage, re.M)), set(keys)


def check_commands(commands):
    readme = read("README.md")
    listed = set(
        re.findall(
            r"`(\w+)", "".join(re.findall(r"^\| (`.*?) \|", section(readme, "Commands"), re.M))
        )
    )
    yield from (f"README.md: the table of commands lacks {name}" for name in commands - listed)
    yield from (f"README.md: the program has no command {name}" for name in listed - commands)
    for code in code_of(readme):
        for word in re.findall(r"\blejepa_mpi ([a-z]+)\b(?![=./])", code):
            if word not in commands:
                yield f"README.md: the program has no command {word}"


def check_keys(document, keys):
    sections = {key.split(".")[0] for key in keys if "." in key}
    for code in code_of(read(document)):
        code = re.sub(r"\.where=(\"[^\"]*\"|\S+)", ".where=", code)  # its conditions are no keys
        code = re.sub(r"jobs/scaling/simulate\.sh .*", "", code)  # has words of its own
        named = re.findall(r"(?<![\w=./@$-])([a-z]\w*(?:\.\w+)*)=(?!=)", code)
        named += [
            word
            for word in re.findall(r"(?<![\w./-])([a-z]+\.[a-z]\w+)\b(?![.(/])", code)
            if word.split(".")[0] in sections and not re.search(rf"\.(?:{SUFFIXES})$", word)
        ]
        yield from (
            f"{document}: the program has no key {name}"
            for name in named
            if name not in keys | {"key"}
        )


def choices(keys):
    """The words of each key that takes one of a list."""
    text = subprocess.run([PROGRAM, "help"], check=True, capture_output=True, text=True).stdout
    listed = re.findall(r"^([a-z][\w.]*)=\S*  \(([a-z]\w*(?:\|\w+)+)\)$", text, re.M)
    return {key: words.split("|") for key, words in listed if key in keys}


def messages(path):
    """The string literals of a source, adjacent ones joined, a space for each conversion."""
    code = re.sub(r"/\*.*?\*/", "", read(path), flags=re.S)
    code = re.sub(r"^#include.*", "", code, flags=re.M)
    for literals in re.findall(r'"(?:[^"\\\n]|\\.)*"(?:\s*"(?:[^"\\\n]|\\.)*")*', code):
        text = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', literals))
        yield re.sub(r"%[-+ 0-9.*]*(?:ll|z)?[a-zA-Z]", " ", text)


def check_messages(commands, keys):
    sections = {key.split(".")[0] for key in keys if "." in key}
    takes, named = choices(keys), 0
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        path = path.relative_to(ROOT)
        for text in messages(path):
            for word in re.findall(r"\blejepa_mpi ([a-z]+)\b(?![=./])", text):
                if word not in commands:
                    yield f"{path}: the program has no command {word}: {text}"
            for word in re.findall(r"(?<![\w./%-])([a-z]+\.[a-z]\w*)\b(?![.(/\w])", text):
                named += word in keys
                if word.split(".")[0] in sections and word not in keys and not is_file(word):
                    yield f"{path}: the program has no key {word}: {text}"
            for key, word in re.findall(r"(?<![\w./%-])([a-z]\w*(?:\.\w+)*)=([a-z]\w*)\b", text):
                if word not in takes.get(key, [word]):
                    yield f"{path}: {key} does not take {word}: {text}"
    if named < 100:
        yield f"src: {named} settings are named in messages"


def is_file(word):
    return re.search(rf"\.(?:{SUFFIXES})$", word)


def check_exit_codes():
    status = re.search(r"enum lj_status {(.*?)};", read("include/lejepa/base.h"), re.S)[1]
    known = {int(value) for value in re.findall(r"= -?(\d+)", status)}
    listed = {
        int(value)
        for value in re.findall(r"^\| (\d+) \|", section(read("README.md"), "Exit codes"), re.M)
    }
    if known != listed:
        yield f"README.md: exit codes {sorted(listed)}; include/lejepa/base.h has {sorted(known)}"


# ---- what the repository holds ------------------------------------------------------------------


def exists(path, document):
    """A path or pattern, from the root or (not in README.md) from src/; NAME is anything."""
    pattern = re.sub(r"NAME", "*", path).rstrip("/")
    places = [ROOT] if document == "README.md" else [ROOT / "src", ROOT]
    return any(any(place.glob(pattern)) for place in places)


def is_path(word, document):
    """Does a word of code name something in the repository?"""
    if not re.fullmatch(r"[\w.*/-]+", word):
        return False
    if word.startswith("/") or word.startswith("build"):
        return False
    tops = ["src", "include", "data", "jobs", "tests"]
    if document != "README.md":
        tops += [folder.name for folder in (ROOT / "src").iterdir() if folder.is_dir()]
    return "/" in word and word.split("/")[0] in tops


def check_paths(document):
    text = read(document)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target and not ((ROOT / document).parent / target).exists():
            yield f"{document}: the link to {target} leads nowhere"
    for code in code_of(text):
        for word in code.split():
            if is_path(word, document) and not exists(word, document):
                yield f"{document}: {word} does not exist"
            elif (
                re.fullmatch(r"\w+\.[ch]", word)
                and word not in OUTSIDE
                and not any((ROOT / "src").rglob(word))
            ):
                yield f"{document}: src has no file {word}"


def check_modules():
    tree = ast.parse(read("tests/style/check_style.py"))
    edges = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "EDGES"
    )
    modules = section(read("src/README.md"), "Modules")
    shown = {
        name: set(others.split())
        for name, others in re.findall(r"^    (\w+) +-> (.*)$", modules, re.M)
    }
    for name, others in edges.items():
        if name != "base" and shown.get(name) != set(others.split()):
            yield f"src/README.md: {name} may include {others}; it says {shown.get(name)}"
    described = set(re.findall(r"^\| `(\w+)` \|", modules, re.M))
    for name in sorted(described ^ set(edges) | set(shown) ^ set(edges)):
        yield f"src/README.md: {name} is a module here or there only"


def check_figure():
    if results.draw(read("README.md")) != read(FIGURE):
        yield f"{FIGURE}: does not show README.md's tables; --update draws it"


def update():
    readme = QUOTE.sub(lambda found: found[1] + step_source() + found[3], read("README.md"))
    (ROOT / "README.md").write_text(readme, encoding="utf-8")
    (ROOT / FIGURE).write_text(results.draw(readme), encoding="utf-8")


def main():
    if sys.argv[3:] == ["--update"]:
        update()
    commands, keys = ask_program()
    complaints = [
        *check_step(),
        *check_commands(commands),
        *check_messages(commands, keys),
        *check_exit_codes(),
        *check_modules(),
        *check_figure(),
    ]
    for document in DOCUMENTS:
        complaints += [*check_keys(document, keys), *check_paths(document)]
    print(*dict.fromkeys(complaints), sep="\n", end="\n" if complaints else "")
    sys.exit(1 if complaints else 0)


main()
