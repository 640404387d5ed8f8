#!/usr/bin/env bash
# One run on a Cloud TPU slice: one process on each of its hosts, which find each other. Every host
# has the repository in FOLDER (by default ~/multimodal_vit) and `pip install -e '.[tpu]'`; --workdir
# lies on a file system that all of them mount.
#
#   launch/tpu_pod.sh --tpu NAME --zone ZONE --config=configs/mnist_conv.py --workdir=/mnt/nfs/run
#   launch/tpu_pod.sh --dry-run --tpu NAME --zone ZONE --config=configs/mnist_conv.py
#   launch/tpu_pod.sh --tpu NAME --zone ZONE --stop                # saves and stops on all hosts
#
# --folder FOLDER names another folder, --python PYTHON another Python. The same command continues.
# Every other flag goes to `python -m multimodal_vit.main`.
set -euo pipefail

dry_run="" tpu="" zone="" folder="multimodal_vit" python="python" stop=""
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry_run=yes; shift ;;
    --stop) stop=yes; shift ;;
    --tpu|--zone|--folder|--python)
      if [ $# -lt 2 ]; then echo "error: $1 needs a value" >&2; exit 2; fi
      printf -v "${1#--}" '%s' "$2"; shift 2 ;;
    -h|--help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) break ;;
  esac
done
if [ -z "$tpu" ] || [ -z "$zone" ] || { [ -z "$stop" ] && [ $# -eq 0 ]; }; then
  echo "error: a slice and an experiment are needed: --tpu NAME --zone ZONE --config=FILE" >&2
  exit 2
fi

if [ -n "$stop" ]; then  # the brackets keep the pattern from finding itself
  remote="pkill -TERM -f '[m]ultimodal_vit.main --distributed'"
else
  remote="cd $(printf '%q' "$folder") && exec $(printf '%q' "$python")"
  remote+=" -m multimodal_vit.main --distributed$(printf ' %q' "$@")"
fi
command=(gcloud compute tpus tpu-vm ssh "$tpu" "--zone=$zone" --worker=all "--command=$remote")
if [ -n "$dry_run" ]; then printf '%q ' "${command[@]}"; echo; else exec "${command[@]}"; fi
