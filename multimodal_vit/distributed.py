"""Several processes that compute one run together, each on its own devices.

All run the same program (`jax.distributed`). What only one can know, such as a file or a signal, is
told to the others here; these functions are therefore called by all processes in the same order.
Process 0, the main one, alone writes files. Alone or not, a program calls the same functions.
"""

import functools
import json
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from multimodal_vit import errors
from multimodal_vit.errors import UserError

SECONDS_TO_START = 300.0  # that processes wait for process 0
SECONDS_OF_SILENCE = 30  # of a process, after which it counts as dead and the others end
_CHUNK = 4096  # bytes of a message are padded to a multiple: few sizes, few compilations
_alone = False  # while the main process acts in `from_main`


def start(coordinator: str | None, num_processes: int | None, process_id: int | None) -> None:
    """Joins the other processes; before JAX computes anything.

    Args:
      coordinator: the address of process 0, HOST:PORT.
      num_processes: in all.
      process_id: of this one. What is None is found out from the cluster (SLURM, Open MPI, TPU).

    Raises:
      UserError: the others cannot be reached, or there is no cluster to ask.
    """
    # It would take SIGTERM for itself; here the processes agree in `agree`.
    jax.config.update("jax_enable_preemption_service", False)
    # SLURM would be asked for what is not given: it assumes one device for each process.
    method = {} if coordinator is None else {"cluster_detection_method": "deactivate"}
    try:
        if coordinator and process_id:
            _wait_for(coordinator)
        jax.distributed.initialize(
            coordinator,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=SECONDS_OF_SILENCE,
            **method,
        )
        multihost_utils.sync_global_devices("start")  # while all are here: later one may be late
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the processes of this run could not find each other ({reason}); give each "
            "--coordinator=HOST:PORT of process 0, --num_processes and its own --process_id"
        ) from error


def _wait_for(address: str) -> None:
    """Waits until process 0 listens; JAX would end the program if it did not.

    Raises:
      OSError: it does not, or its host is not known.
    """
    host, _, port = address.rpartition(":")
    until = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        except socket.gaierror:
            raise
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def stop() -> None:
    """Waits until all processes have come so far, and parts from them."""
    jax.distributed.shutdown()


def several() -> bool:
    """Whether other processes take part."""
    return not _alone and jax.distributed.is_initialized() and jax.process_count() > 1


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return not several() or jax.process_index() == 0


def from_main(action: Callable[[], Any]) -> Any:
    """Acts in the main process alone; every process gets what it returns.

    Args:
      action: returns what JSON can hold. In it the process is on its own: nothing that computes on
        the devices of others may be called.

    Raises:
      UserError: in every process, where the action raises one; it is `everywhere`.
    """
    global _alone
    if not several():
        return action()
    message = b""
    if is_main():
        _alone = True
        try:
            said = {"value": action()}
        except UserError as error:
            said = {"error": type(error).__name__, "message": str(error)}
        finally:
            _alone = False
        message = json.dumps(said).encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(message))))
    padded = np.zeros(-(-size // _CHUNK) * _CHUNK, np.uint8)
    padded[: len(message)] = np.frombuffer(message, np.uint8)
    received = multihost_utils.broadcast_one_to_all(padded)
    said = json.loads(received[:size].tobytes())
    if "error" in said:
        error: UserError = getattr(errors, said["error"])(said["message"])
        error.everywhere = True
        raise error
    return said["value"]


def agree(values: Sequence[float]) -> jax.Array | np.ndarray:
    """The largest of each value over all processes, float32 [N].

    Where there are several, it is computed behind what the devices were given before, and not
    waited for.
    """
    own = np.array(values, np.float32)
    if not several():
        return own
    over_devices, largest = _agreement()
    shape = (jax.device_count(), len(own))
    return largest(jax.make_array_from_callback(shape, over_devices, lambda _: own[None]))


@functools.cache
def _agreement() -> tuple[NamedSharding, Callable[[jax.Array], jax.Array]]:
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    largest = jax.jit(lambda x: x.max(axis=0), out_shardings=NamedSharding(mesh, P()))
    return NamedSharding(mesh, P("devices")), largest


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Puts arrays on a mesh; every process holds the same ones, and gives its devices their parts.

    Args:
      tree: of arrays in host memory or on one device of this process.
      sharding: where they shall lie.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(x: Any) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(put, tree)


def to_host(tree: Any) -> Any:
    """Copies arrays to host memory, whole, wherever their parts lie."""
    return jax.device_get(_gather()(tree) if several() else tree)


@functools.cache
def _gather() -> Callable[[Any], Any]:
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, P()))
