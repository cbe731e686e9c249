#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""src/SETTINGS.md's tables are the program's own: test_settings.py PROGRAM SETTINGS."""

import subprocess
import sys

program, settings = sys.argv[1:]
table = subprocess.run(
    [program, "help", "table"], check=True, capture_output=True, text=True
).stdout
if not open(settings, encoding="utf-8").read().endswith("\n\n" + table):
    sys.exit(
        "src/SETTINGS.md: does not end with what `lejepa_mpi help table` prints; replace its tables"
    )
