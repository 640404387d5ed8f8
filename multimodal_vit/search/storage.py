"""Where the trials are kept, and the locks that tell who works on what.

A worker holds a lock on its trial while it works. The kernel, and a database, free the lock when
the process or the connection ends, and only then: a worker that is slow, suspended or cut off from
the storage for a while is never taken for dead, as a heartbeat would take it.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import exc

from multimodal_vit.errors import UserError
from multimodal_vit.locking import Lock
from multimodal_vit.workdir import Workdir

ERRORS = (exc.SQLAlchemyError, optuna.exceptions.StorageInternalError)  # what a database raises
SECONDS_BETWEEN_TRIES = 0.05
SECONDS_TO_WAIT = 600.0  # for a lock that is held for moments, and for a server to answer
SECONDS_BEFORE_KEEPALIVE = 60  # after which a server asks whether a silent host is still there


class JournalLock:
    """Exclusive use of a journal, freed by the kernel, and the mending of what a dead writer left.

    Optuna's own lock is a symbolic link: it stays when its holder is killed, and is taken from a
    holder that is merely stopped for thirty seconds.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._lock = Lock(journal.with_name(f"{journal.name}.lock"))

    def acquire(self) -> bool:
        """Waits for the lock, then cuts off a last line that a killed writer left incomplete."""
        self._lock.wait(SECONDS_TO_WAIT)
        if self._journal.exists():
            with self._journal.open("rb+") as file:
                _cut_incomplete_line(file.fileno())
        return True

    def release(self) -> None:
        """Frees the lock."""
        self._lock.release()


def _cut_incomplete_line(file: int) -> None:
    end = os.fstat(file).st_size
    block = 4096
    position = end
    while position > 0:
        start = max(0, position - block)
        newline = os.pread(file, position - start, start).rfind(b"\n")
        if newline >= 0:
            position = start + newline + 1
            break
        position = start
    if position < end:
        os.ftruncate(file, position)


def _without_password(url: str) -> str:
    return re.sub(r"(//[^/@]*:)[^/]*@", r"\1***@", url)


def parse_url(url: str) -> sqlalchemy.URL:
    """An SQLAlchemy URL; PostgreSQL is spoken to by psycopg unless the URL says otherwise.

    Raises:
      UserError: no such URL.
    """
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()
    except exc.ArgumentError as error:
        raise UserError(
            f"storage={_without_password(url)!r} is no SQLAlchemy URL; give one such as "
            "postgresql://user:password@host/database, or leave it empty for a journal in the "
            "workdir"
        ) from error
    return parsed


@contextlib.contextmanager
def storage_errors(url: sqlalchemy.URL | None) -> Iterator[None]:
    """Turns whatever a database raises into one line that names it."""
    try:
        yield
    except ERRORS as error:
        reason = str(getattr(error.__cause__ or error, "orig", None) or error)
        raise UserError(
            f"the storage {url} cannot be used: {' '.join(reason.split())} - start the "
            "same command again when it can; nothing that is finished is lost"
        ) from error


def try_connection(url: sqlalchemy.URL) -> None:
    """Connects once, so that a wrong URL is answered before anything is written.

    Raises:
      UserError: the database's driver is not installed.
    """
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the storage {url} needs the package {error.name}; for PostgreSQL: "
            "pip install 'multimodal_vit[postgresql]'"
        ) from error
    with engine.connect():
        pass


def open_storage(journal: Path, url: sqlalchemy.URL | None) -> BaseStorage:
    """The storage of a search: its journal, or the database where there is a URL.

    Raises:
      UserError: the journal is damaged.
    """
    if url is not None:
        engine = {"pool_pre_ping": True}
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=engine)
    try:
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=JournalLock(journal)))
    except ValueError as error:
        raise UserError(
            f"{journal} is damaged: {error}. Restore it from a copy, or name a new --workdir"
        ) from error


class Locks:
    """The locks of a search: on files, and in PostgreSQL on its server as well.

    Both must be free. So hosts whose shared file system knows no locks exclude each other by the
    server, and a worker whose connection is lost is still known by its file.
    """

    def __init__(self, url: sqlalchemy.URL | None) -> None:
        self._engine: sqlalchemy.Engine | None = None
        self._connection: sqlalchemy.Connection | None = None
        if url is not None and url.get_backend_name() == "postgresql":
            self._engine = sqlalchemy.create_engine(
                url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT"
            )

    @contextlib.contextmanager
    def held(self, folder: Path, name: str) -> Iterator[bool]:
        """Holds a lock, or yields False where another worker holds it.

        Args:
          folder: holds the lock's file; it is made.
          name: tells the lock from all others on the same server.

        Raises:
          UserError: the folder cannot be written.
        """
        with Workdir(folder).locked() as free:
            if not free or self._engine is None:
                yield free
                return
            if not self._ask("SELECT pg_try_advisory_lock(:key)", name):
                yield False
                return
            try:
                yield True
            finally:
                try:
                    self._ask("SELECT pg_advisory_unlock(:key)", name)
                except exc.SQLAlchemyError:  # the server freed it with the lost connection
                    self.close()

    @contextlib.contextmanager
    def mutex(self, folder: Path, name: str) -> Iterator[None]:
        """Holds a lock, waiting for it.

        Raises:
          UserError: another worker has held it for `SECONDS_TO_WAIT`; it is held for moments.
        """
        until = time.monotonic() + SECONDS_TO_WAIT
        while True:
            with self.held(folder, name) as free:
                if free:
                    yield
                    return
            if time.monotonic() > until:
                raise UserError(
                    f"{folder} was locked for {SECONDS_TO_WAIT:.0f} s by "
                    f"{Workdir(folder).lock.holder()}; end that process, then start the same "
                    "command again"
                )
            time.sleep(SECONDS_BETWEEN_TRIES)

    def close(self) -> None:
        """Ends the connection to the server, if there is one, and with it its locks."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _ask(self, statement: str, name: str) -> bool:
        if self._connection is None:
            self._connection = self._engine.connect()
            keepalive = f"SET tcp_keepalives_idle = {SECONDS_BEFORE_KEEPALIVE}"
            self._connection.execute(sqlalchemy.text(keepalive))
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        key = int.from_bytes(digest, signed=True)
        return bool(self._connection.scalar(sqlalchemy.text(statement), {"key": key}))
