#!/usr/bin/env bash
# Starts Ray on every node of the allocation and runs a study on it.
#
#   sbatch --export=ALL,STORAGE=/shared/runs deploy/slurm.sh studies/cifar_norm_ablation.py --preset paper --seeds 5
#
# Sent again, or requeued, it goes on where it was. What sbatch sends before the time is up ends the study resumably.
#SBATCH --job-name=sortednet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail

: "${STORAGE:?a folder that every node sees}"
: "${1:?a study file, and its options}"
cpus=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}
port=${RAY_PORT:-6379}
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n') # nobody else's driver joins
export RAY_AUTH_TOKEN

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head_address=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="${hosts[0]}" hostname --ip-address | awk '{ print $1 }')

srun --overlap --nodes=1 --ntasks=1 --nodelist="${hosts[0]}" \
    ray start --head --node-ip-address="$head_address" --port="$port" --include-dashboard=false \
    --num-cpus="$cpus" --num-gpus="$gpus" --block &
nodes=("$!")
for _ in $(seq 60); do
    ray status --address "$head_address:$port" > /dev/null 2>&1 && break
    sleep 2
done
for host in "${hosts[@]:1}"; do
    srun --overlap --nodes=1 --ntasks=1 --nodelist="$host" \
        ray start --address="$head_address:$port" --num-cpus="$cpus" --num-gpus="$gpus" --block &
    nodes+=("$!")
done
trap 'kill "${nodes[@]}" 2> /dev/null || true' EXIT

python "$1" run "${@:2}" --storage "$STORAGE" --address "$head_address:$port" &
study=$!
trap 'kill -TERM "$study"' TERM INT
status=0
wait "$study" || status=$?
if kill -0 "$study" 2> /dev/null; then # a signal ended the wait, not the study
    status=0
    wait "$study" || status=$?
fi
exit "$status"
