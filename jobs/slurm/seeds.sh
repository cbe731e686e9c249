#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# train.sh as an array: three runs that differ in their seed, each requeued by itself, in
# runs/slurm-JOB/seed-1 to -3. `lejepa_mpi rank` and `report` compare them.
#SBATCH --job-name=lejepa-seeds
#SBATCH --array=1-3
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A_%a.log
#SBATCH --signal=B:USR1@300
exec bash "${LEJEPA_JOBS:-jobs}/slurm/train.sh" "$@"
