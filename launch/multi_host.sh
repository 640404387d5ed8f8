#!/usr/bin/env bash
# One run on several hosts without a scheduler: over ssh one process on each, with all its
# accelerators. The hosts have the repository at the same path and share the file system of
# --workdir.
#
#   launch/multi_host.sh --hosts node0,node1 --config=configs/mnist_conv.py
#   launch/multi_host.sh --hosts node0,node1 --port 9876 --config=configs/mnist_conv.py
#   launch/multi_host.sh --dry-run --hosts node0,node1 --config=configs/mnist_conv.py
#
# The first host coordinates: the others must reach its port. Ctrl-C or SIGTERM saves and stops on
# all; the same command continues, with more hosts or fewer too. PYTHON names another Python. Every
# other flag goes to `python -m multimodal_vit.main`.
set -euo pipefail
# shellcheck source=launch/wait_all.sh
source "$(dirname "$0")/wait_all.sh"

dry_run="" hosts=() port=9876
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry_run=yes; shift ;;
    --hosts) IFS=, read -ra hosts <<< "${2:-}"; shift; shift || true ;;
    --port) port=${2:-}; shift; shift || true ;;
    -h|--help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
  esac
done
if [ "${#hosts[@]}" -eq 0 ] || [ $# -eq 0 ]; then
  echo "error: hosts and an experiment are needed: --hosts node0,node1 --config=FILE" >&2
  exit 2
fi

address="${hosts[0]##*@}:$port"
run() {  # on host $1 as process $2
  local process="--coordinator=$address --num_processes=${#hosts[@]} --process_id=$2"
  local ssh=(ssh "$1" "cd $(printf '%q' "$PWD") && exec ${PYTHON:-python} -m $main $process")
  if [ -n "$dry_run" ]; then printf '%q ' "${ssh[@]}"; echo; else exec "${ssh[@]}"; fi
}
main="multimodal_vit.main$(printf ' %q' "$@")"
running=()
# All processes stop where one is told to. The brackets keep the pattern from finding itself.
trap 'ssh "${hosts[0]}" "pkill -TERM -f \"[-]-coordinator=$address\"" || true' INT TERM
for i in "${!hosts[@]}"; do
  if [ -n "$dry_run" ]; then run "${hosts[i]}" "$i"; continue; fi
  run "${hosts[i]}" "$i" < /dev/null &
  running+=($!)
done
wait_all "${running[@]}"
