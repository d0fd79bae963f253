/* libployz: the furniture that every room shares. The files stand here in the order of their
 * dependencies; each uses only those above it, and none knows a daemon.
 *
 *   mem         allocation that ends the process when there is none, cleanup attributes
 *   failure     what went wrong, in words that travel to the operator; exit codes
 *   log         journal fields, or a line on stderr
 *   str         names, durations, sizes, lists, buffers, small files
 *   map         strings to pointers
 *   file        small files read and written whole
 *   config      one row an option: command line, file, defaults, --help
 *   codec       one row a field: JSON to struct and back
 *   document    JSON and YAML text with the line and column of each value
 *   loop        sd-event with signals and watchdog, timers, deferred work
 *   http        HTTP requests on the loop (libcurl)
 *   model/…     the aggregates: manifest, machine, instance, plan, namespace, deploy, lease,
 *               agent, route
 *   subjects    every subject, stream and bucket
 *   handoff     what nats.c's threads give to the loop
 *   bus         the NATS connection: requests, subscriptions, doorplates, services protocol
 *   stream      JetStream: append, read, follow
 *   bucket      key-value with compare-and-set
 *   projection  the last entry of every subject of the log, kept fresh
 *   daemon      what every run() begins and ends with */
#ifndef PLOYZ_PLOYZ_H
#define PLOYZ_PLOYZ_H

#include "lib/bucket.h"
#include "lib/bus.h"
#include "lib/codec.h"
#include "lib/config.h"
#include "lib/daemon.h"
#include "lib/failure.h"
#include "lib/file.h"
#include "lib/http.h"
#include "lib/log.h"
#include "lib/loop.h"
#include "lib/map.h"
#include "lib/mem.h"
#include "lib/model/agent.h"
#include "lib/model/deploy.h"
#include "lib/model/instance.h"
#include "lib/model/lease.h"
#include "lib/model/machine.h"
#include "lib/model/manifest.h"
#include "lib/model/namespace.h"
#include "lib/model/plan.h"
#include "lib/model/route.h"
#include "lib/projection.h"
#include "lib/str.h"
#include "lib/stream.h"
#include "lib/subjects.h"

#endif
