"""UDP echo with Twisted."""

import socket
import sys

from twisted.internet import epollreactor

epollreactor.install()
from twisted.internet import protocol, reactor  # noqa: E402  (the reactor is chosen first)


class Echo(protocol.DatagramProtocol):
    noisy = False

    def startProtocol(self):
        self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def datagramReceived(self, data, address):
        self.transport.write(data, address)


reactor.listenUDP(int(sys.argv[1]), Echo(), interface="127.0.0.1")
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
