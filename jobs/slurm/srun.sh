#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# train.sh, launched by Slurm itself, for an MPI that was built with PMIx (srun --mpi=list).
#SBATCH --job-name=lejepa
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:USR1@300
LEJEPA_SRUN=1 exec bash "${LEJEPA_JOBS:-jobs}/slurm/train.sh" "$@"
