"""Echo with Python's asyncio, by BufferedProtocol, its fastest interface: no allocation per read."""

import asyncio
import signal
import sys


class Echo(asyncio.BufferedProtocol):
    once = False
    chunk = memoryview(bytearray(65536))  # for all: write() copies what it cannot send at once

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.chunk

    def buffer_updated(self, length):
        self.transport.write(self.chunk[:length])
        if self.once:
            self.transport.close()

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main(port):
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    await loop.create_server(Echo, "127.0.0.1", port, backlog=4096)
    print("ready", flush=True)
    await done.wait()


Echo.once = sys.argv[2:] == ["once"]
asyncio.run(main(int(sys.argv[1])))
