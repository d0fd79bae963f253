/* libployz: code shared by all daemons. The files are listed in dependency order; each uses only
 * those above it, and none knows a daemon.
 *
 *   mem         allocation that ends the process when memory is exhausted, cleanup attributes
 *   failure     a failed request: message, next step, exit code
 *   clock       CLOCK_REALTIME and CLOCK_BOOTTIME
 *   log         journal fields, or a line on stderr
 *   str         names, durations, sizes, lists, buffers
 *   map         strings to pointers
 *   file        small files read and written whole
 *   config      one row per option: command line, file, defaults, --help
 *   codec       one row per field: JSON to struct and back
 *   document    JSON and YAML text with the line and column of each value
 *   loop        sd-event with signals and watchdog, timers, deferred work
 *   http        HTTP requests on the loop (libcurl)
 *   model/...   the aggregates: watermark, manifest, release, machine, instance, plan, namespace,
 *               route, deploy, lease, agent, store
 *   subjects    every subject, stream and bucket
 *   streams     the configuration of every stream
 *   handoff     messages from the threads of nats.c to the loop
 *   bus         the NATS connection: requests, subscriptions, endpoints, services protocol
 *   stream      JetStream: append, read, follow
 *   bucket      key-value with compare-and-set
 *   cas         an append that is repeated until its outcome is known
 *   lease       leases: observed, held, broken
 *   projection  the last entry of every subject, kept fresh from the store
 *   daemon      the beginning and end of every run() */
#ifndef PLOYZ_PLOYZ_H
#define PLOYZ_PLOYZ_H

#include "lib/bucket.h"
#include "lib/bus.h"
#include "lib/cas.h"
#include "lib/codec.h"
#include "lib/config.h"
#include "lib/daemon.h"
#include "lib/failure.h"
#include "lib/file.h"
#include "lib/http.h"
#include "lib/lease.h"
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
#include "lib/model/release.h"
#include "lib/model/route.h"
#include "lib/model/store.h"
#include "lib/model/watermark.h"
#include "lib/projection.h"
#include "lib/str.h"
#include "lib/stream.h"
#include "lib/streams.h"
#include "lib/subjects.h"

#endif
