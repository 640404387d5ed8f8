#!/usr/bin/env bash
# Trains on every accelerator of this machine: one process, over all of them. Or a trial of the same
# program on the CPU: on N virtual devices of one process, or in N processes as if on N hosts.
#
#   launch/local.sh --config=configs/mnist_conv.py
#   launch/local.sh --cpu-devices 4 --config=configs/digits_conv.py
#   launch/local.sh --cpu-processes 2 --config=configs/digits_conv.py
#   launch/local.sh --dry-run --config=configs/mnist_conv.py       # only says what it would run
#
# train.batch_size is the batch of a step over all devices; it must be a multiple of their number.
# With both options each process has so many devices. Ctrl-C or SIGTERM saves and stops; the same
# command continues. Every other flag goes to `python -m multimodal_vit.main`.
set -euo pipefail
# shellcheck source=launch/wait_all.sh
source "$(dirname "$0")/wait_all.sh"

dry_run="" processes=1
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry_run=yes; shift ;;
    --cpu-devices|--cpu-processes)
      case "${2:-}" in ""|0|*[!0-9]*) echo "error: $1 needs a number" >&2; exit 2 ;; esac
      export JAX_PLATFORMS=cpu
      if [ "$1" = --cpu-processes ]; then
        processes=$2
      else
        export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$2"
      fi
      shift 2 ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
  esac
done
if [ $# -eq 0 ]; then
  echo "error: no experiment is named; give --config=configs/digits_conv.py, say" >&2
  exit 2
fi

command=("${PYTHON:-python}" -m multimodal_vit.main "$@")
several=()
if [ "$processes" -gt 1 ]; then
  several=("--coordinator=localhost:$((20000 + RANDOM % 10000))" "--num_processes=$processes")
fi
if [ -n "$dry_run" ]; then
  for ((i = 0; i < processes; i++)); do
    printf '%s ' "JAX_PLATFORMS=${JAX_PLATFORMS:-}" "XLA_FLAGS=${XLA_FLAGS:-}"
    printf '%q ' "${command[@]}" "${several[@]}" ${several:+"--process_id=$i"}
    echo
  done
  exit
fi
if [ "$processes" -eq 1 ]; then exec "${command[@]}"; fi

running=()
trap 'kill -TERM "${running[@]}" 2> /dev/null || true' INT TERM
for ((i = 0; i < processes; i++)); do
  "${command[@]}" "${several[@]}" "--process_id=$i" &
  running+=($!)
done
wait_all "${running[@]}"
