# A test in namespaces of its own: processes, network, mounts, and an empty /run. What it leaves there goes with them,
# whoever made it; and what it finds there is its own. Sourced after tests/lib/fixture.sh.

# apart SCRIPT: the rest of this script happens there; outside of it this is the script's end. An engine of the
# machine has its bridges in another network: the test starts its own.
apart() {
	[ -z "${APART-}" ] || return 0
	[ "$(id -u)" -eq 0 ] || skip_all 'namespaces of its own are for root'
	signals_hold
	apart_disk=$(trap '' INT TERM HUP; mktemp -d /var/tmp/plt.XXXXXX) || exit 1
	at_end "rm -rf $apart_disk"
	signals_take
	# Where the tree was entered by chroot, / is no mount point, and the root of the mounts is outside: it becomes a
	# root, with cgroups, so that engines find what they need whoever starts them.
	env -u DOCKER_HOST -u ENGINE_PRIVATE APART=yes TMPDIR="$work" ENGINE_TMPDIR="$apart_disk" \
		unshare --mount --propagation unchanged --pid --net --ipc --fork --kill-child sh -c '
		nsenter --mount=/proc/self/ns/mnt mount --make-rprivate / && mount -t proc proc /proc &&
		mount -t tmpfs -o mode=755 tmpfs /run && ip link set lo up &&
		. tests/lib/engine.sh && engine_in_place sh "$1"' sh "$1"
	exit
}
