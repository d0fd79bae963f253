#!/bin/sh
# agentd on Podman's socket: the whole test of agentd, with another engine behind the same API.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/apart.sh
. tests/lib/podman.sh

podman_start "$0"
# Its own lines are the test's; the plan is its own too.
sh tests/agentd.t
