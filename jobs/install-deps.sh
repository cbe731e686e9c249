#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sees to it that what building and running lejepa_mpi needs is there; with the argument "test" also
# what the test suite needs, with "slurm" what the suite `slurm` needs (daemons of Slurm, which
# Debian starts once it has a configuration). On Debian and its descendants it installs what is
# missing, as root or with sudo; elsewhere, or without those rights, it says what to ask for. Does
# nothing when all is there. Exit 1 when something is missing that a build needs; what only tests
# need may be missing: those tests are skipped.
set -euo pipefail

# What a build needs: what pkg-config calls it (a choice: |), or a command or a header; then the
# packages that bring it on Debian, Fedora and Spack.
needs='
command:gcc|clang|cc         gcc                       gcc               gcc
command:g++|clang++|c++      g++                       gcc-c++           gcc
command:pkg-config|pkgconf   pkg-config                pkgconf           pkgconf
command:meson                meson                     meson             meson
command:ninja|ninja-build    ninja-build               ninja-build       ninja
command:mpirun|mpiexec|srun  openmpi-bin               openmpi           openmpi
module:ompi-c|mpich|mpi      libopenmpi-dev            openmpi-devel     openmpi
module:hdf5-openmpi|hdf5-mpich|hdf5|hdf5-serial libhdf5-openmpi-dev hdf5-devel hdf5
header:blis/blis.h           libblis-openmp-dev        blis-devel        blis
header:dnnl.h                libdnnl-dev               onednn-devel      onednn
module:sleef                 libsleef-dev              sleef-devel       sleef
header:Random123/philox.h    librandom123-dev          Random123-devel   random123
module:yaml-0.1              libyaml-dev               libyaml-devel     libyaml
module:jansson               libjansson-dev            jansson-devel     jansson
module:libxxhash             libxxhash-dev             xxhash-devel      xxhash
module:libdeflate            libdeflate-dev            libdeflate-devel  libdeflate
module:zlib                  zlib1g-dev                zlib-devel        zlib-api
header:lapacke.h             liblapacke-dev            lapack-devel      netlib-lapack+lapacke
module:hwloc                 libhwloc-dev              hwloc-devel       hwloc
'
# What tests need besides, on Debian. Words joined by | name one thing in different releases.
test_packages=(git clang clang-format-14 'libclang-rt-14-dev|libclang-rt-19-dev|libclang-rt-dev'
               libomp-dev libcriterion-dev python3-minimal python3-numpy python3-h5py python3-torch
               hdf5-tools valgrind gnuplot-nox shellcheck libsimgrid-dev)
slurm_packages=(slurm-wlm munge)

say() {
    echo "install-deps.sh: $*" >&2
}

# Is one of the names of a need there? Words: kind and names.
is_there() {
    local name path
    for name in ${2//|/ }; do
        case $1 in
        command) command -v "$name" >/dev/null && return 0 ;;
        module) pkg-config --exists "$name" 2>/dev/null && return 0 ;;
        header)
            for path in ${CPATH:+${CPATH//:/ }} /usr/include /usr/local/include \
                        /usr/include/*-linux-gnu; do
                [ -f "$path/$name" ] && return 0
                [ -f "$path/blis-openmp/${name#blis/}" ] && return 0
            done
            ;;
        esac
    done
    return 1
}

# Prints the packages of one column (2 Debian, 3 Fedora, 4 Spack) that bring what is missing.
missing() {
    local need rest
    while read -r need rest; do
        [ -n "$need" ] || continue
        is_there "${need%%:*}" "${need#*:}" ||
            echo "$need $rest" | awk -v column="$1" '{print $column}'
    done <<<"$needs" | sort -u | tr '\n' ' '
}

is_installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# Prints the first of the names joined by | that is installed, or that the system offers.
offered() {
    local name
    for name in ${1//|/ }; do
        is_installed "$name" && return 0
    done
    for name in ${1//|/ }; do
        [ -n "$(apt-cache madison "$name" 2>/dev/null)" ] && { echo "$name"; return 0; }
    done
    say "this system has no package ${1//|/ or }: its tests are skipped"
}

install_packages() {
    say "installing with apt: $*"
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq \
        --no-install-recommends "$@" >&2
}

as_root=()
may_install=no
if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    if [ "$(id -u)" -eq 0 ]; then
        may_install=yes
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        may_install=yes
        as_root=(sudo)
    fi
fi

asked=()
for what in "$@"; do
    case $what in
    test) asked+=("${test_packages[@]}") ;;
    slurm) asked+=("${slurm_packages[@]}") ;;
    *)
        say "error: $what is none of its arguments, which are test and slurm"
        exit 2
        ;;
    esac
done

wanted=$(missing 2)
for_tests=()
if [ ${#asked[@]} -gt 0 ] && [ "$may_install" = yes ]; then
    absent=()
    for package in "${asked[@]}"; do
        is_installed "$package" || absent+=("$package")
    done
    [ ${#absent[@]} -eq 0 ] || "${as_root[@]}" apt-get update -qq
    for package in ${absent[@]+"${absent[@]}"}; do
        name=$(offered "$package")
        [ -z "$name" ] || for_tests+=("$name")
    done
fi
[ -n "$wanted" ] || [ ${#for_tests[@]} -gt 0 ] || exit 0

if [ "$may_install" = yes ]; then
    [ ${#asked[@]} -gt 0 ] || "${as_root[@]}" apt-get update -qq
    # shellcheck disable=SC2086
    install_packages $wanted ${for_tests[@]+"${for_tests[@]}"}
    wanted=$(missing 2)
    [ -n "$wanted" ] || exit 0
fi
say "error: these are missing and cannot be installed from here; ask your administrator for"
say "    Debian:  apt install $wanted"
say "    Fedora:  dnf install $(missing 3)"
say "    Spack:   spack install $(missing 4)"
say "or say where they are: PKG_CONFIG_PATH, CPATH, -Dblis=PREFIX ... (jobs/README.md)"
exit 1
