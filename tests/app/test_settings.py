#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""README.md's table of settings is the program's own: test_readme.py PROGRAM README."""
import subprocess
import sys

program, readme = sys.argv[1:]
table = subprocess.run([program, "help", "table"], check=True, capture_output=True, text=True).stdout
if table not in open(readme, encoding="utf-8").read():
    sys.exit("README.md: the table of settings is not what `lejepa_mpi help table` prints; replace it")
