#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and running lejepa_mpi needs on Debian 12; with the argument "test" also
# what the test suite needs. Says what it installs; does nothing when all is there.
set -euo pipefail

build=(gcc g++ pkg-config meson ninja-build
       openmpi-bin libopenmpi-dev libhdf5-openmpi-dev libblis-openmp-dev libdnnl-dev libsleef-dev
       librandom123-dev libyaml-dev libjansson-dev libxxhash-dev libdeflate-dev zlib1g-dev
       liblapacke-dev libhwloc-dev dataset-fashion-mnist)
# clang needs LLVM's OpenMP runtime and sanitizer runtimes for the second compiler of the test suite.
test=(git clang clang-format-14 libomp-dev libclang-rt-14-dev libcriterion-dev python3-minimal
      python3-numpy python3-h5py python3-torch hdf5-tools valgrind)

wanted=("${build[@]}")
[ "${1:-}" = test ] && wanted+=("${test[@]}")

missing=()
for package in "${wanted[@]}"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

echo "installing with apt: ${missing[*]}" >&2
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || {
        echo "install-deps.sh: error: not root and no sudo; ask your administrator for: ${missing[*]}" >&2
        exit 1
    }
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
