#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes data/fashion-mini.h5, the example archive: 10,000 training images (split 0) and 2,000 test images
# (split 1) of Fashion-MNIST, 28 x 28 grey, equally many of each of the ten classes. The choice depends on
# the seed alone and the file on the choice alone: the same bytes every time.
# Needs Debian's package dataset-fashion-mnist, or its four files in $FASHION_MNIST.
set -eu
cd "$(dirname "$0")/.."
program=${LEJEPA_MPI:-build/src/app/lejepa_mpi}
source=${FASHION_MNIST:-/usr/share/datasets/fashion-mnist}
train=$source/train-images-idx3-ubyte.gz,$source/train-labels-idx1-ubyte.gz,0,10000
test=$source/t10k-images-idx3-ubyte.gz,$source/t10k-labels-idx1-ubyte.gz,1,2000
"$program" pack out=data/fashion-mini.h5 parts="$train;$test" balanced=1 seed=0 \
    licence=data/fashion-mini.LICENSE
