#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# train.sh with threads: on a node of 64 cores in 8 NUMA domains, a rank for each domain and a
# thread for each of its cores. Options of sbatch before the script's name override these.
#SBATCH --job-name=lejepa
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#SBATCH --signal=B:USR1@300
exec bash "${LEJEPA_JOBS:-jobs}/slurm/train.sh" "$@"
