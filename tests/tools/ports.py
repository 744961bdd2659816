"""Ports for a suite that no other test takes: a base is reserved by a locked file until this process ends."""

import fcntl
import os
import random
import socket
import tempfile

OFFSETS = (*range(70, 75), 80, *range(90, 95))  # gRPC, JSON, admin
reserved = []  # open files: the lock of each goes with the process


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old calls may linger
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def is_reserved_now(base):
    """Two tests that look before either listens would both find the base free."""
    folder = os.path.join(tempfile.gettempdir(), f"weir-ports-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    lock = open(os.path.join(folder, str(base)), "wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return False
    reserved.append(lock)
    return True


def free_base(*preferred):
    """A base whose ports are all free, the preferred ones first.  Above 32768 ports are the kernel's to give out."""
    bases = list(range(11000, 32000, 100))
    random.SystemRandom().shuffle(bases)
    for base in (*preferred, *bases):
        if all(is_free(base + offset) for offset in OFFSETS) and is_reserved_now(base):
            return base
    raise AssertionError("no free range of ports between 11000 and 32000")
