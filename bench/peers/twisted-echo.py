"""Echo with Twisted on its epoll reactor."""

import sys

from twisted.internet import epollreactor

epollreactor.install()
from twisted.internet import protocol, reactor  # noqa: E402  (the reactor is chosen first)


class Echo(protocol.Protocol):
    once = False

    def connectionMade(self):
        self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self.transport, True)  # a full queue pauses reading

    def dataReceived(self, data):
        self.transport.write(data)
        if self.once:
            self.transport.unregisterProducer()
            self.transport.loseConnection()


Echo.once = sys.argv[2:] == ["once"]
factory = protocol.Factory.forProtocol(Echo)
factory.noisy = False
reactor.listenTCP(int(sys.argv[1]), factory, backlog=4096, interface="127.0.0.1")
reactor.callWhenRunning(print, "ready", flush=True)
reactor.run()
