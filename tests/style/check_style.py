#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""House style, checked: format, include DAG, banned calls, licence lines, lengths, unfinished
notes, shell scripts.

    check_style.py ROOT         checks the tree; one line per complaint, exit 1 if any
    check_style.py --self-test  feeds itself one bad example of each kind and expects a complaint
"""
import pathlib
import re
import shutil
import subprocess
import sys

FORMATTER = "clang-format-14"  # other releases format a little otherwise
SKIPPED = 77  # what meson takes for a skipped test
FILE_LINES, FUNCTION_LINES, COLUMNS = 600, 100, 100

# module: modules whose headers it may include, besides its own (src/README.md: "Modules")
EDGES = {
    "base": "",
    "kernels": "base",
    "comm": "base",
    "runtime": "kernels comm base",
    "nn": "kernels base",
    "data": "kernels comm base",
    "optim": "nn kernels base",
    "loss": "kernels comm base",
    "models": "nn base",
    "store": "nn comm base",
    "eval": "store models loss data comm nn kernels base",
    "train": "eval store models loss optim data comm nn kernels runtime base",
    "run": "train eval store models loss data comm nn kernels runtime base",
    "app": "run train eval store models loss optim data comm nn kernels runtime base",
}
# headers of include/lejepa/ that are not named after their module
INSTALLED_OF_BASE = {"config", "config_keys"}

# Three kinds of header, each saying which it is in its first comment:
#   include/lejepa/NAME.h       installed, for callers of the library
#   src/MODULE/MODULE.h         for other modules
#   any other below src/MODULE  private to the module
HEADER_KINDS = {"installed": "Installed.", "module": "For other modules.", "private": "Private to "}

# system header: paths it may be included from
CONFINED = [
    (r"mpi\.h", r"src/comm/|tests/"),
    (r"hdf5\.h", r"src/data/archive/|src/store/|tests/"),
    (r"(blis(/blis)?|dnnl|oneapi/dnnl/.*)\.h", r"src/kernels/(gemm|conv)/"),
    (r"(sleef|immintrin|x86intrin)\.h", r"src/kernels/x86/"),
]

# call: why not, and the paths where it is allowed
TESTS_AND_MEMORY = r"src/base/memory\.c|tests/"
BANNED = {name: ("it does not know the size of its target", r"^tests/")
          for name in ("strcpy", "strcat", "sprintf", "vsprintf", "gets")}
BANNED.update({name: ("randomness is lj_rng", r"$^")
               for name in ("rand", "srand", "random", "drand48")})
BANNED["exit"] = ("a rank that exits alone leaves the others waiting",
                  r"src/base/status\.c|src/comm/start\.c|src/app/main\.c")
BANNED.update({name: ("memory is lj_alloc and lj_free", TESTS_AND_MEMORY)
               for name in ("malloc", "calloc", "realloc", "free", "posix_memalign",
                            "aligned_alloc", "strdup", "strndup")})

LICENCE = "SPDX-License-Identifier: Apache-2.0"


def blanked(text):
    """text with comments and literals replaced by blanks of the same lines."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    return re.sub(pattern, lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.S)


def module_of(path):
    """The module a path belongs to; None for tests and others."""
    parts = path.split("/")
    if parts[0] == "src" and len(parts) > 2:
        return parts[1]
    if path.startswith("include/lejepa/"):
        return module_of_installed(path[len("include/"):])
    return None


def module_of_installed(name):
    """The module of "lejepa/NAME.h"."""
    stem = name[len("lejepa/"):-len(".h")]
    return "base" if stem in INSTALLED_OF_BASE else stem


def header_kind(path):
    """One of HEADER_KINDS."""
    module = module_of(path)
    if path.startswith("include/"):
        return "installed"
    return "module" if path == f"src/{module}/{module}.h" and module != "app" else "private"


def complaint_about_include(path, module, name):
    """What is wrong with a file of this module including "name"; None if nothing is."""
    if name.startswith("lejepa/"):
        other = module_of_installed(name)
    elif path.startswith("include/"):
        return f"an installed header must not include {name}, which is not installed"
    else:
        other = name.split("/")[0]
        if "/" not in name or ".." in name:
            return f"{name}: write the path from src/"
        if other != module and name != f"{other}/{other}.h":
            return f"{name} is private to {other}"
    if other != module and other not in EDGES[module].split():
        return f"{module} must not include {name}"
    return None


def check_includes(path, text):
    module = module_of(path)
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        quote, name = found.groups()
        for header, places in CONFINED:
            if re.fullmatch(header, name) and not re.match(places, path):
                yield f"{path}:{number}: {name} is not for this directory"
        if module and quote == '"' and module in EDGES:
            complaint = complaint_about_include(path, module, name)
            if complaint:
                yield f"{path}:{number}: {complaint}"
    if module and module not in EDGES:
        yield f"{path}:1: {module} is not a module of the design"


def check_header_kind(path, text):
    if path.endswith(".h") and module_of(path):
        words = HEADER_KINDS[header_kind(path)]
        if not re.match(r"/\*.*?\*/\s*/\* " + re.escape(words), text):
            yield f"{path}:2: the first comment of this header begins with '{words}'"


def check_calls(path, text):
    for number, line in enumerate(blanked(text).split("\n"), 1):
        for name in re.findall(r"(?<![\w.>])(\w+)\s*\(", line):
            reason, places = BANNED.get(name, ("", ""))
            if reason and not re.match(places, path):
                yield f"{path}:{number}: {name} is banned here: {reason}"


def check_settings(path, text):
    """Settings of a few words are enums; the text of one is handed to the module whose table knows
    its names."""
    call = r"\bstrn?(?:case)?cmp\s*\((?:[^()]|\([^()]*\))*?\b(?:config|c)(?:->|\.)"
    if path.startswith("src/") and module_of(path) != "base":
        text = blanked(text)
        for found in re.finditer(call, text):
            line = text.count("\n", 0, found.start()) + 1
            yield (f"{path}:{line}: a setting is not compared as text: make it a CHOICE of "
                   "config_keys.h")


def check_functions(path, text):
    """Bodies open and close in column 0; the signature begins after the last blank or comment."""
    lines = text.split("\n")
    opened = None
    for number, line in enumerate(lines):
        if line == "{":
            opened = number
        elif line == "}" and opened is not None:
            first = opened
            while first > 0 and re.match(r"[\w\s*]", lines[first - 1]) \
                    and lines[first - 1].strip() and not re.search(r"\*/\s*$", lines[first - 1]):
                first -= 1
            above, back = lines[first - 1] if first else "", first - 1
            while back > 0 and above.strip().endswith("*/") and "/*" not in lines[back]:
                back -= 1
            reason = lines[back].lstrip().startswith("/* Long:") if first else False
            if number - first + 1 > FUNCTION_LINES and not reason:
                yield (f"{path}:{first + 1}: function of {number - first + 1} lines; at most "
                       f"{FUNCTION_LINES}, or say why above it: /* Long: ... */")
            opened = None


def check_text(path, text):
    lines = text.split("\n")
    if LICENCE not in "\n".join(lines[:2]):
        yield f"{path}:1: no line '{LICENCE}' at the top"
    if len(lines) - 1 > FILE_LINES:
        yield f"{path}: {len(lines) - 1} lines; at most {FILE_LINES}"
    for number, line in enumerate(lines, 1):
        if re.search(r"\bTO" r"DO\b(?!.*#\d)", line):
            yield f"{path}:{number}: unfinished note without the #number of an issue"


def check_width(path, text):
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > COLUMNS and "://" not in line:
            yield f"{path}:{number}: {len(line)} columns; at most {COLUMNS}"


def check_file(path, text):
    complaints = [*check_text(path, text), *check_width(path, text)]
    if path.endswith((".c", ".h")):
        for check in (check_includes, check_header_kind, check_calls, check_settings,
                      check_functions):
            complaints += check(path, text)
    return complaints


def check_format(root, paths):
    if not shutil.which(FORMATTER):
        return []
    run = subprocess.run([FORMATTER, "--dry-run", "-Werror", *paths], cwd=root,
                         stderr=subprocess.PIPE, text=True, check=False)
    found = re.findall(r"^(\S+?:\d+):\d+: error", run.stderr, flags=re.M)
    if run.returncode and not found:
        return [f"{FORMATTER}: {run.stderr.strip()}"]
    return [f"{place}: not formatted; run {FORMATTER} -i" for place in dict.fromkeys(found)]


def files(root):
    """Sources, headers, scripts and meson files, as paths relative to root."""
    for top in ("src", "include", "tests", "jobs", ".ci"):
        for path in sorted((root / top).rglob("*")):
            script = path.suffix == "" and path.is_file() and path.read_bytes()[:2] == b"#!"
            if script or path.name == "meson.build" or path.suffix in (".c", ".h", ".py", ".sh"):
                yield path.relative_to(root).as_posix()
    yield "meson.build"


def check_test_names(texts):
    """texts: path and text of every meson.build. If two tests had one name, the later one would
    silently replace the earlier one."""
    seen = {}
    for path, text in texts:
        for name in re.findall(r"'(test_\w+)': *(?:files\(|\[)", re.sub(r"#.*", "", text)):
            if name in seen:
                yield f"{path}: '{name}' is the name of a test in {seen[name]}, too"
            seen[name] = path


def check_cases(texts):
    """texts: {path: text}. Cases for several ranks are launched by name: one that its meson.build
    does not name would never run."""
    for path, text in texts.items():
        blocks = re.split(r"\n(?=\w+ \+= )", re.sub(r"#.*", "", text))
        tables = [block for block in blocks if block.startswith("mpi_tests +=")]
        for name in re.findall(r"'([\w/]+\.c)'", "".join(tables)):
            code = texts.get((pathlib.PurePosixPath(path).parent / name).as_posix(), "")
            for suite, case in re.findall(r"^Test\((\w+), (\w+)", code, flags=re.M):
                if not re.search(f"['/]{case}'", text):
                    yield f"{path}: {suite}/{case} of {name} is never launched"


# Calls between the files of a module go one way. The exception: the first matmul of a process
# selects the processor level (kernels/dispatch.c), which is then forced on the libraries behind
# matmuls.
MAY_CALL_BACK = {"src/kernels/dispatch.c"}


def calls_between(texts):
    """texts: {path: text} of one module's sources. For each path the set of those it calls into."""
    defined = {}
    for path, text in texts.items():
        for name in re.findall(r"^(?!static)[\w *]*?\b(lj_\w+)\([^;{]*\)\n\{", text, flags=re.M):
            defined[name] = path
    return {path: {other for name, other in defined.items() if other != path
                   and re.search(r"(?<!struct )\b" + name + r"\b(?!\w)(?=\s*\(|[,;)])", text)}
            for path, text in texts.items()}


def check_circles(texts):
    """texts: {path: text} of all sources."""
    modules = {}
    for path, text in texts.items():
        if path.startswith("src/") and path.endswith(".c") and path not in MAY_CALL_BACK:
            modules.setdefault(module_of(path), {})[path] = blanked(text)
    for sources in modules.values():
        calls = calls_between(sources)
        for path in sorted(calls):
            reached, waiting = set(), set(calls[path])
            while waiting:
                other = waiting.pop()
                reached.add(other)
                waiting |= calls[other] - reached
            if path in reached:
                yield f"{path}: is in a circle of calls between files of its module"


def shell_scripts(root, paths):
    for path in paths:
        if path.endswith(".sh") or (root / path).read_bytes().startswith(b"#!/usr/bin/env bash"):
            yield path


def check_shell(root, paths):
    """Syntax of shell scripts, and what shellcheck finds, where it is installed."""
    for path in paths:
        run = subprocess.run(["bash", "-n", path], cwd=root, stderr=subprocess.PIPE, text=True,
                             check=False)
        if run.returncode:
            yield f"{path}: {run.stderr.strip()}"
    if shutil.which("shellcheck") and paths:
        run = subprocess.run(["shellcheck", "--severity=warning", "--format=gcc", *paths], cwd=root,
                             stdout=subprocess.PIPE, text=True, check=False)
        yield from run.stdout.splitlines()


def check_tree(root):
    paths = list(files(root))
    complaints = check_format(root, [p for p in paths if p.endswith((".c", ".h"))])
    complaints += check_shell(root, list(shell_scripts(root, paths)))
    complaints += check_test_names((p, (root / p).read_text())
                                   for p in paths if p.endswith("meson.build"))
    texts = {path: (root / path).read_text() for path in paths}
    complaints += check_circles(texts)
    complaints += check_cases(texts)
    for path in paths:
        complaints += check_file(path, texts[path])
    return complaints


def bad_examples():
    """(path, text, part of the complaint; "" where none may come)"""
    head = f"/* {LICENCE} */\n"
    body = "int f(void)\n{\n" + "    f();\n" * FUNCTION_LINES + "}\n"
    note = "/* TO" + "DO"
    yield "src/loss/a.c", head + '#include "lejepa/train.h"\n', "must not include"
    yield "src/loss/a.c", head + '#include "train/train.h"\n', "must not include"
    yield "include/lejepa/base.h", head + '#include "lejepa/comm.h"\n', "must not include"
    yield "include/lejepa/eval.h", head + '#include "data/data.h"\n', "not installed"
    yield "src/data/a.c", head + '#include "nn/nn.h"\n', "must not include"
    yield "src/loss/a.c", head + '#include "../comm/comm_mpi.h"\n', "path from src/"
    yield "src/loss/a.c", head + '#include "loss_state.h"\n', "path from src/"
    yield "src/loss/a.c", head + '#include "comm/comm_mpi.h"\n', "private to comm"
    yield "src/extra/a.c", head + '#include "a.h"\n', "not a module"
    yield "include/lejepa/base.h", head + "/* base: status */\n", "Installed."
    yield "src/nn/nn.h", head + "/* nn: layers */\n", "For other modules."
    yield "src/nn/plan.h", head + "/* the plan */\n", "Private to "
    yield "src/nn/plan.h", head + "/* Private to nn: the plan */\n", ""
    yield "src/loss/a.c", head + "#include <mpi.h>\n", "not for this directory"
    yield "src/data/views/views.c", head + "#include <hdf5.h>\n", "not for this directory"
    yield "src/eval/a.c", head + "#include <hdf5.h>\n", "not for this directory"
    for name in ("immintrin.h", "sleef.h", "blis.h", "oneapi/dnnl/dnnl.h"):
        yield "src/nn/a.c", head + f"#include <{name}>\n", "not for this directory"
    for name in BANNED:
        yield "src/nn/a.c", head + f"int x = {name} (1);\n", f"{name} is banned"
    yield "tests/nn/a.c", head + "int x = rand();\n", "rand is banned"
    for call in ('strcmp(config->model, "vit")', 'strncmp("vit", t->config.model, 3)',
                 'strcasecmp(f(x),\n c->model)'):
        yield "src/nn/a.c", head + f"int x = {call} == 0;\n", "not compared as text"
        yield "src/base/config/values.c", head + f"int x = {call} == 0;\n", ""
    yield "src/nn/a.c", head + 'int x = strcmp(name, "vit") == 0 ? config->seed : c->seed;\n', ""
    yield "src/nn/a.c", "int x;\n", LICENCE
    yield "jobs/a.sh", "#!/bin/sh\n", LICENCE
    wide = "/* " + "x" * (COLUMNS - 6)
    yield "src/nn/a.c", head + wide + "x */\n", "columns"
    yield "src/nn/a.c", head + wide + " */\n", ""
    yield "tests/a.py", f"# {LICENCE}\n#" + COLUMNS * "x" + "\n", "columns"
    yield "src/nn/meson.build", f"# {LICENCE}\n#" + COLUMNS * "x" + "\n", "columns"
    yield "src/nn/a.c", head + wide + " https://example.org */\n", ""
    yield "src/nn/a.c", head + "\n" + body, "function of"
    yield "src/nn/a.c", head + "\n/* Short: no */\n" + body, "function of"
    yield "src/nn/a.c", head + "int x;\n" * FILE_LINES, "at most"
    yield "src/nn/a.c", head + note + " later */\n", "unfinished"
    yield "src/nn/a.c", head + note + " #12 later */\n", ""
    yield "src/nn/a.c", head + "\n/* Long: one table of cases,\n * in order. */\n" + body, ""
    yield "src/nn/a.c", head + '/* free(x) */\nint x = p->free(1) + lj_free("malloc(1)");\n', ""
    yield "src/base/memory.c", head + "int x = free(1);\n", ""
    yield "tests/nn/a.c", head + "#include <mpi.h>\nint x = malloc(1);\n", ""
    yield "src/data/archive/open.c", head + '#include <hdf5.h>\n#include "comm/comm.h"\n', ""
    yield "src/train/step.c", head + '#include "lejepa/config.h"\n#include "train/step.h"\n', ""


def self_test(directory):
    wrong = []
    for path, text, part in bad_examples():
        complaints = check_file(path, text)
        if part and not any(part in c for c in complaints) or not part and complaints:
            wrong.append(f"{path}: expected '{part}', found {complaints}:\n{text[:200]}")
    tables = [("a/meson.build",
               "unit_tests += {'test_a': files('a.c'),\n 'test_b': [files('b.c')]}")]
    for more, bad in (("unit_tests += {'test_b': files('c.c')}", True),
                      ("isa_tests += {'x': ['test_b', 1]}", False)):
        if bool(list(check_test_names(tables + [("b/meson.build", more)]))) != bad:
            wrong.append(f"names of tests: {more}")
    launched = {"tests/a/meson.build": "mpi_tests += {'test_a': [files('a.c'), ['a/one'], [1]]}\n",
                "tests/a/a.c": "Test(a, one)\n{\n}\n"}
    forgotten = dict(launched, **{"tests/a/a.c": "Test(a, one)\n{\n}\nTest(a, two, .x = 1)\n"})
    if list(check_cases(launched)) or len(list(check_cases(forgotten))) != 1:
        wrong.append("cases that are never launched")
    one_way = {"src/nn/a.c": "int lj_a(void)\n{\n    return lj_b();\n}\n",
               "src/nn/b.c": "int lj_b(void)\n{\n    return 1;\n}\n"}
    circle = dict(one_way, **{"src/nn/b.c": "int lj_b(void)\n{\n    return lj_a();\n}\n"})
    if list(check_circles(one_way)) or len(list(check_circles(circle))) != 2:
        wrong.append("circles of calls")
    root = pathlib.Path(directory)
    shutil.copy(pathlib.Path(__file__).resolve().parents[2] / ".clang-format", root)
    formats = [("bad.c", "int  x ;\n", True), ("good.c", "int x;\n", False)]
    for path, text, bad in formats if shutil.which(FORMATTER) else []:
        (root / path).write_text(text)
        if bool(check_format(root, [path])) != bad:
            wrong.append(f"format of {path}: {check_format(root, [path])}")
    scripts = [("bad.sh", "if true; then\n", True), ("good.sh", "#!/bin/bash\ntrue\n", False)]
    if shutil.which("shellcheck"):
        scripts.append(("doubtful.sh", "#!/bin/bash\nunused=$(false)\n", True))
    for path, text, bad in scripts:
        (root / path).write_text(text)
        if bool(list(check_shell(root, [path]))) != bad:
            wrong.append(f"shell script {path}: {list(check_shell(root, [path]))}")
    return wrong


def main():
    if sys.argv[1:] == ["--self-test"]:
        import tempfile
        with tempfile.TemporaryDirectory() as directory:
            complaints = self_test(directory)
    elif len(sys.argv) == 2:
        complaints = check_tree(pathlib.Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
    for complaint in complaints:
        print(complaint)
    if shutil.which(FORMATTER):
        sys.exit(1 if complaints else 0)
    print(f"the format of C files was not checked: {FORMATTER} is not installed")
    sys.exit(1 if complaints else SKIPPED)


main()
