#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# test_install.sh MESON BUILD MPICC MPIRUN EXAMPLE.c: installs into a fresh directory, and uses what
# is there as somebody else would: public headers that compile alone, pkg-config, the example, the
# program.
set -euo pipefail
meson=$1 build=$2 mpicc=$3 mpirun=$4 example=$5
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT

DESTDIR=$target "$meson" install -C "$build" --no-rebuild --quiet > /dev/null
package=$(find "$target" -name lejepa.pc)
header=$(find "$target" -path '*/include/lejepa/base.h')
program=$(find "$target" -path '*/bin/lejepa_mpi')
for found in "$package" "$header" "$program"; do
    [ -f "$found" ] && continue
    echo "not installed: package '$package', headers '$header', program '$program'"
    exit 1
done

# Each header alone: strict C11, no directory but theirs, neither MPI nor HDF5.
include=$(dirname "$(dirname "$header")")
for file in "$include"/lejepa/*.h; do
    name=lejepa/$(basename "$file")
    if grep -nE '#[[:space:]]*include[[:space:]]*[<"](mpi|hdf5|H5|blis|sleef|omp)' "$file"; then
        echo "$name: includes a header of a library behind it"
        exit 1
    fi
    printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" \
        > "$target/alone.c"
    gcc -std=c11 -Wall -Wextra -pedantic -Werror -I"$include" -fsyntax-only "$target/alone.c" ||
        { echo "$name does not compile alone"; exit 1; }
done

# The example, outside the build tree.
export PKG_CONFIG_PATH=${package%/*}${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
libdir=$(pkg-config --variable=libdir lejepa)
export LD_LIBRARY_PATH=$libdir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
cd "$target"
# The words of pkg-config are flags: split on purpose.
# shellcheck disable=SC2046
"$mpicc" -std=c11 -Wall -Wextra -pedantic -Werror "$example" \
    $(pkg-config --cflags --libs lejepa) -lm -o example
"$mpirun" -n 2 ./example

# The program finds library and example data where they were installed.
unset LD_LIBRARY_PATH
"$program" version
