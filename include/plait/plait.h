/**
 * @file plait.h
 * All of the core: #include <plait/plait.h> and link with -lplait.
 */
#ifndef PLAIT_PLAIT_H
#define PLAIT_PLAIT_H

#include <plait/address.h>
#include <plait/base.h>
#include <plait/buffer.h>
#include <plait/combine.h>
#include <plait/datagram.h>
#include <plait/deferred.h>
#include <plait/endpoint.h>
#include <plait/error.h>
#include <plait/fanout.h>
#include <plait/fiber.h>
#include <plait/fiber_io.h>
#include <plait/file.h>
#include <plait/inspect.h>
#include <plait/lock.h>
#include <plait/log.h>
#include <plait/looping_call.h>
#include <plait/process.h>
#include <plait/producer.h>
#include <plait/protocol.h>
#include <plait/reactor.h>
#include <plait/receiver.h>
#include <plait/scope.h>
#include <plait/thread.h>
#include <plait/timer.h>
#include <plait/transport.h>
#include <plait/watch.h>

#endif
