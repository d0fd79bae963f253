# Podman's socket as the engine of a test, in the test's own namespaces: what it leaves (processes that wait for minutes,
# firewall rules, files under /run) goes with them. Sourced after engine.sh and apart.sh.

# podman_start SCRIPT: the rest of this script happens with $DOCKER_HOST being Podman.
podman_start() {
	command -v podman >/dev/null || skip_all 'podman is not installed'
	apart "$1"
	# On the disk: /tmp may be memory. vfs: an overlay over what is one already is refused.
	podman_dir=$ENGINE_TMPDIR/podman
	mkdir -p "$podman_dir/tmp"
	DOCKER_HOST=unix://$podman_dir/podman.sock
	# Its default limit on processes wants a controller that a bare tree's cgroups do not have.
	CONTAINERS_CONF=$podman_dir/containers.conf
	printf '[containers]\npids_limit = 0\n' >"$CONTAINERS_CONF"
	export DOCKER_HOST CONTAINERS_CONF
	# Its networks are the machine's, and would outlive it, with their subnets taken: Podman keeps them in /etc, and
	# the plugins of Podman 4 the addresses that they gave out in a directory that only a mount moves.
	mkdir -p "$podman_dir/networks"
	if [ -x /usr/lib/cni/host-local ]; then
		signals_hold
		[ -d /var/lib/cni ] || { mkdir /var/lib/cni && at_end 'rmdir /var/lib/cni'; }
		mount -t tmpfs -o mode=755 tmpfs /var/lib/cni && at_end 'umount -l /var/lib/cni'
		signals_take
	fi
	TMPDIR=$podman_dir/tmp start "$work/podman.log" engine_in_place podman --root "$podman_dir/root" \
		--runroot "$podman_dir/run" --network-config-dir "$podman_dir/networks" --storage-driver vfs \
		--cgroup-manager cgroupfs system service --time=0 "$DOCKER_HOST"
	podman_pid=$started
	within 30 podman_is_up
	engine_answers "$DOCKER_HOST" >/dev/null || bail "podman's socket does not answer: $(tail -n 1 "$work/podman.log")"
	# The one that it has of itself: another one's subnet would be in a test's way, once in 200 runs.
	podman_networks=$(engine_api GET /networks | grep -o '"Name":' | wc -l)
	[ "$podman_networks" -eq 1 ] || bail "podman has $((podman_networks - 1)) networks of somebody else"
	podman_major=$(podman --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
}

podman_is_up() {
	engine_answers "$DOCKER_HOST" || gone "$podman_pid"
}
