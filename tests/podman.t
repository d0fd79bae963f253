#!/bin/sh
# agentd on Podman's socket: the whole test of agentd, with another engine behind the same API.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/engine.sh"

command -v podman >/dev/null || skip_all 'podman is not installed'

# Seen with 5.4, without agentd too: a container on a bridge that ends by itself is started again once, then left.
podman_major=$(podman --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
[ "$podman_major" -lt 5 ] || skip_all "Podman $podman_major does not keep to its restart policy on a bridge; 4 does"

# On the disk: /tmp may be memory. vfs: an overlay over what is one already is refused.
podman_dir=$(mktemp -d /var/tmp/plt-podman.XXXXXX)
at_end "rm -rf $podman_dir"
DOCKER_HOST=unix://$podman_dir/podman.sock
# Its default limit on processes wants a controller that a bare tree's cgroups do not have.
CONTAINERS_CONF=$podman_dir/containers.conf
printf '[containers]\npids_limit = 0\n' >"$CONTAINERS_CONF"
export DOCKER_HOST CONTAINERS_CONF
(engine_in_place podman --root "$podman_dir/root" --runroot "$podman_dir/run" --storage-driver vfs \
	--cgroup-manager cgroupfs system service --time=0 "$DOCKER_HOST") >"$work/podman.log" 2>&1 </dev/null &
podman_pid=$!
at_end "end_pid $podman_pid 20"
podman_up() {
	engine_answers "$DOCKER_HOST" || gone "$podman_pid"
}
within 30 podman_up
engine_answers "$DOCKER_HOST" >/dev/null || bail "podman's socket does not answer: $(tail -n 1 "$work/podman.log")"

# Its own lines are the test's; the plan is its own too.
sh "$(dirname "$0")/agentd.t"
