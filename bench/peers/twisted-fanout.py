"""Fan-out with Twisted: subscribers on PORT, the publisher on PORT + 1."""

import sys

from twisted.internet import epollreactor

epollreactor.install()
from twisted.internet import protocol, reactor  # noqa: E402  (the reactor is chosen first)

RECORD = 200
subscribers = set()


class Subscriber(protocol.Protocol):
    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        subscribers.add(self)

    def connectionLost(self, reason):
        subscribers.discard(self)


class Publisher(protocol.Protocol):
    held = b""

    def dataReceived(self, data):
        data = self.held + data
        whole = len(data) // RECORD * RECORD
        self.held = data[whole:]
        data = data[:whole]
        for subscriber in subscribers:
            subscriber.transport.write(data)


port = int(sys.argv[1])
for kind, at in (Subscriber, port), (Publisher, port + 1):
    factory = protocol.Factory.forProtocol(kind)
    factory.noisy = False
    reactor.listenTCP(at, factory, backlog=4096, interface="127.0.0.1")
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
