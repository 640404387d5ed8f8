# shellcheck shell=bash
# For the other scripts: the end of several processes. Ctrl-C or SIGTERM has a trap there, which
# passes it on and ends a `wait` while the process is still saving.

# Waits until all processes have ended; the status is that of the first that failed, or 0.
wait_all() {  # process numbers
  local process code status=0
  for process in "$@"; do
    code=0
    wait "$process" || code=$?
    while kill -0 "$process" 2> /dev/null; do
      code=0
      wait "$process" || code=$?
    done
    if [ "$status" -eq 0 ]; then status=$code; fi
  done
  return "$status"
}
