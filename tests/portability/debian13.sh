#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Debian 13 from bare: makes one in a scratch directory, installs what jobs/install-deps.sh says,
# builds, runs the fast suite and the quick start with one epoch. The last line is the verdict.
#
#     tests/portability/debian13.sh [DIRECTORY]     default: a new one below ${TMPDIR:-/tmp}
#
# A DIRECTORY that already holds such a system is used again and kept; a new one is removed at the
# end. Exit 77 (skipped) where it cannot run: it needs root, debootstrap, and 6 GB.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1

skip() {
    echo "debian13: skipped: $*"
    exit 77
}
[ "$(id -u)" -eq 0 ] || skip "not root"
command -v debootstrap >/dev/null || skip "debootstrap is not installed"

# The mirror that this host is configured with.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^#' |
    grep -oE 'https?://[^ ]+' | grep -E '/debian/?$' | head -n 1)
[ -n "$mirror" ] || skip "no package mirror is configured"

keep=yes
system=${1:-}
[ -n "$system" ] || { system=$(mktemp -d); keep=no; }
mkdir -p "$system"
system=$(realpath "$system")
[ "$system" != / ] || skip "a directory is needed, not this system"
log=$system.log

# Unmounts before it removes, and never crosses into a directory of the host.
leave() {
    umount -R "$system/dev" "$system/sys" "$system/proc" 2>/dev/null
    if [ "$keep" = no ] && ! grep -q " $system/" /proc/mounts; then
        rm -rf --one-file-system "$system"
    fi
}
trap leave EXIT
trap 'exit 130' INT TERM

fail() {
    echo "debian13: FAILED: $*; see $log"
    tail -n 30 "$log"
    exit 1
}

inside() {
    chroot "$system" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        LC_ALL=C.UTF-8 bash -c "$1" >>"$log" 2>&1 </dev/null
}

: >"$log"
[ -x "$system/bin/bash" ] ||
    debootstrap --variant=minbase trixie "$system" "$mirror" >>"$log" 2>&1 || fail "debootstrap"
cp -L /etc/resolv.conf "$system/etc/resolv.conf"
for setting in /etc/apt/apt.conf.d/*; do # a proxy, for example
    grep -qiE 'proxy|Check-' "$setting" && cp "$setting" "$system/etc/apt/apt.conf.d/"
done
mount --rbind /dev "$system/dev" && mount --make-rslave "$system/dev" &&
    mount --rbind /sys "$system/sys" && mount --make-rslave "$system/sys" &&
    mount -t proc proc "$system/proc" || fail "mounting"

rm -rf "$system/src" "$system"/tmp/* && mkdir -p "$system/src"
git ls-files -z | xargs -0 tar cf - --ignore-failed-read | tar xf - -C "$system/src" ||
    fail "copying"

inside "cd /src && bash jobs/install-deps.sh test" || fail "install-deps.sh"
inside "cd /src && bash tests/run.sh fast" || fail "the fast suite"
summary=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1)
# One epoch learns too little for the quick start's own verdict, whose numbers must be there.
inside "cd /src && bash jobs/quickstart.sh train.epochs=1"
scores=$(grep -E '^\{"knn_trained": [0-9.]+, .*"seconds": [0-9]+\}$' "$log" | tail -n 1)
[ -n "$scores" ] || fail "the quick start"
echo "debian13: passed: fast suite $summary; quick start with 1 epoch $scores"
