#!/bin/sh
# The crash matrix (tests/fault-crash.t) on a store of three replicas: the whole cluster, with three nats-servers on
# loopback. The leader, a follower, or all stores are killed at every phase of a deploy, and so are other programs.
REPLICAS=3
export REPLICAS
exec "$(dirname "$0")/fault-crash.t" "$@"
