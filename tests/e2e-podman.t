#!/bin/sh
# The whole way of a deploy on Podman's socket: the test of it from end to end, with another engine behind the same API.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/apart.sh
. tests/lib/podman.sh

podman_start "$0"
sh tests/e2e-deploy.t
