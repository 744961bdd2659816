"""Something between the services that cuts, delays, swallows and resets what they send each other.

Each service has a data folder of its own, so its sockets are apart from those of the others; where it looks for a
socket of another service, this proxy listens and passes on. One thread with an event loop carries all of it.
"""

import asyncio
import os
import threading

from rig import SERVICES, Rig, harness

PASS, CUT, HANG, SWALLOW = "pass", "cut", "hang", "swallow"
# From common/domain/links.c: the sender, then the receiver.
LINKS = (
    ("gateway", "ingest"), ("ingest", "embedder"), ("embedder", "indexer"), ("gateway", "indexer"),
    ("gateway", "reconciler"), ("ingest", "reconciler"), ("embedder", "reconciler"), ("indexer", "reconciler"),
    ("reconciler", "indexer"), ("reconciler", "gateway"), ("indexer", "gateway"),
)
CHUNK_BYTES = 64 << 10


class Wire:
    """One socket that is passed on: rows or answers of a link, or the calls of a service to another."""

    def __init__(self, name, listen, target):
        self.name, self.listen, self.target = name, listen, target
        self.mode, self.delay_s = PASS, 0.0
        self.open = asyncio.Event()
        self.open.set()
        self.writers = set()

    async def serve(self):
        if os.path.exists(self.listen):
            os.unlink(self.listen)
        await asyncio.start_unix_server(self.accepted, self.listen)

    async def accepted(self, reader, writer):
        if self.mode == CUT:
            writer.transport.abort()
            return
        try:
            there_reader, there_writer = await asyncio.open_unix_connection(self.target)
        except OSError:
            writer.transport.abort()  # nobody listens there now
            return
        self.writers |= {writer, there_writer}
        await asyncio.gather(self.pass_on(reader, there_writer), self.pass_on(there_reader, writer))
        self.writers -= {writer, there_writer}

    async def pass_on(self, reader, writer):
        """Until either end closes, or everything is reset."""
        try:
            while data := await reader.read(CHUNK_BYTES):
                await self.open.wait()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.mode != SWALLOW:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        writer.transport.abort()

    def set(self, mode, delay_s=0.0):
        """HANG and SWALLOW end with a reset, as a half-open connection does: what was lost cannot be sent after."""
        if self.mode in (HANG, SWALLOW) and mode != self.mode or mode == CUT:
            self.reset()
        self.mode, self.delay_s = mode, delay_s
        if mode == HANG:
            self.open.clear()
        else:
            self.open.set()

    def reset(self):
        for writer in self.writers:
            writer.transport.abort()


class ProxiedRig(Rig):
    """A suite with the proxy between all its services."""

    def __init__(self, settings=(), **options):
        super().__init__(settings, **options)
        self.wires = {}
        self.loop = asyncio.new_event_loop()
        self.carrier = threading.Thread(target=self.loop.run_forever, daemon=True)

    def folder(self, service):
        return os.path.join(self.data, "s", service)

    def socket(self, service, name):
        return os.path.join(self.folder(service), "run", name)

    def up(self):
        for service in SERVICES:
            os.makedirs(os.path.join(self.folder(service), "run"), exist_ok=True)
        self.carrier.start()
        asyncio.run_coroutine_threadsafe(self.lay_wires(), self.loop).result(10)
        return super().up()

    async def lay_wires(self):
        for sender, receiver in LINKS:
            link = f"{sender}-{receiver}"
            self.add_wire(f"{link}.rows", sender, receiver)
            self.add_wire(f"{link}.acks", receiver, sender)
        for service in SERVICES:
            for peer in SERVICES:
                if peer != service:
                    self.add_wire(f"{peer}.grpc", service, peer)
        for wire in self.wires.values():
            await wire.serve()

    def add_wire(self, name, connecting, listening):
        self.wires[(name, connecting)] = Wire(name, self.socket(connecting, name), self.socket(listening, name))

    def set(self, key, mode, delay_s=0.0):
        self.on_loop(lambda: self.wires[key].set(mode, delay_s))

    def reset(self, key):
        self.on_loop(self.wires[key].reset)

    def heal(self):
        for key in self.wires:
            self.set(key, PASS)

    def on_loop(self, job):
        async def run():
            job()

        asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def gather(self):
        """weir-scan wants the databases side by side."""
        together = os.path.join(self.data, "together")
        os.makedirs(together, exist_ok=True)
        for service in SERVICES:
            if not os.path.exists(os.path.join(together, service)):
                os.symlink(self.database(service), os.path.join(together, service))
        return together

    def close(self):
        super().close()
        if self.carrier.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.carrier.join(10)


__all__ = ["CUT", "HANG", "PASS", "SWALLOW", "ProxiedRig", "harness"]
