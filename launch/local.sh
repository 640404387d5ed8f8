#!/usr/bin/env bash
# Trains on every accelerator of this machine: one process, data parallel over all of them.
# Without one, or with --cpu-devices N, on N virtual CPU devices: a trial of the same program.
#
#   launch/local.sh --config=configs/mnist_conv.py
#   launch/local.sh --cpu-devices 4 --config=configs/digits_conv.py
#   launch/local.sh --dry-run --config=configs/mnist_conv.py       # only says what it would run
#
# train.batch_size is the batch of a step over all devices; it must be a multiple of their number.
# Ctrl-C or SIGTERM saves and stops; the same command continues. Every other flag goes to
# `python -m multimodal_vit.main`.
set -euo pipefail

dry_run=""
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry_run=yes; shift ;;
    --cpu-devices)
      case "${2:-}" in ""|*[!0-9]*) echo "error: --cpu-devices needs a number" >&2; exit 2 ;; esac
      export JAX_PLATFORMS=cpu
      export XLA_FLAGS="${XLA_FLAGS:-} --xla_force_host_platform_device_count=$2"
      shift 2 ;;
    -h|--help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
  esac
done
if [ $# -eq 0 ]; then
  echo "error: no experiment is named; give --config=configs/digits_conv.py, say" >&2
  exit 2
fi

command=("${PYTHON:-python}" -m multimodal_vit.main "$@")
if [ -n "$dry_run" ]; then
  printf '%s ' "JAX_PLATFORMS=${JAX_PLATFORMS:-}" "XLA_FLAGS=${XLA_FLAGS:-}"
  printf '%q ' "${command[@]}"
  echo
else
  exec "${command[@]}"
fi
