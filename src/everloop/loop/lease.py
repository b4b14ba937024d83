"""Holding the lease of the loop while a step lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from everloop.core.errors import ConflictError, UnavailableError
from everloop.loop.context import LoopContext
from everloop.store.leases import Lease, acquire_lease, check_lease, release_lease

__all__ = ["LEASE", "HeldLease", "held_lease"]

LEASE = "loop"


class HeldLease:
    """A lease that is renewed in the background; ask :meth:`check` before anything that cannot be undone."""

    def __init__(self, context: LoopContext, lease: Lease) -> None:
        self._context = context
        self.lease = lease

    def check(self) -> None:
        """Make sure that this process still acts alone.

        Raises:
            ConflictError: another has taken over.
        """
        with self._context.store.read() as tx:
            check_lease(tx, self.lease)


@contextmanager
def held_lease(context: LoopContext) -> Iterator[HeldLease]:
    """Hold the loop's lease within the block.

    Raises:
        ConflictError: another process holds it.
    """
    seconds = context.project.settings.loop.lease_seconds
    with context.store.write() as tx:
        lease = acquire_lease(tx, LEASE, context.holder, now=context.clock.now(), seconds=seconds)
    done = threading.Event()

    def renew() -> None:
        while not done.wait(seconds / 3):
            try:
                with context.store.write() as tx:
                    check_lease(tx, lease)
                    acquire_lease(tx, LEASE, context.holder, now=context.clock.now(), seconds=seconds)
            except ConflictError:
                return  # taken over; check() tells the step
            except UnavailableError:
                continue  # the store may be back before the lease runs out

    renewer = threading.Thread(target=renew, name="lease-renewer", daemon=True)
    renewer.start()
    try:
        yield HeldLease(context, lease)
    finally:
        done.set()
        renewer.join()
        with context.store.write() as tx:
            release_lease(tx, lease)
