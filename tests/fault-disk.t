#!/bin/sh
# A full disk under the store, the local bus, agentd's state, the gateway's files, or the container engine: what has to be
# written is refused with the cause and the next step, traffic continues, and once there is room everything works again
# without help. The disks are small tmpfs mounts of this test.
#
# Short: the installed nats-server. FAULTS=whole: each version that Debian's releases have (tests/setup/nats-servers);
# from 2.14 on a store that could not write has to be restarted, which meshd does.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

[ "$(id -u)" -eq 0 ] || skip_all 'only root can mount the small disks'
plain_path=$PATH

disk() { # disk DIRECTORY SIZE
	mkdir -p "$1"
	mount -t tmpfs -o "size=$2" plt-disk "$1" || bail "no disk of its own for $1"
	at_end "umount -l '$1'"
}
fill() {
	fallocate -l "$(df --output=avail -B1 "$1" | tail -n 1)" "$1/filling" || bail "$1 cannot be filled"
}
empty() {
	rm -f "$1/filling"
}

web() { # web NAME
	web_manifest full 2 "$1"
	echo "    files: {/etc/note: $1}"
}
deploy() { # deploy NAME
	web "$1" >"$work/next.yaml"
	run timeout 150 ployzctl --dir "$cluster_dir" deploy -f "$work/next.yaml"
}
serves() { # serves NAME
	answers full.test / "$1"
}
goes_on() { # goes_on NAME: a deploy succeeds without help, within the time that a restart of the store may need
	web "$1" >"$work/next.yaml"
	if within 45 ctl deploy -f "$work/next.yaml"; then
		pass "with room: the deploy of $1 goes through, without help"
	else
		run ctl deploy -f "$work/next.yaml"
		fail "with room: the deploy of $1 goes through" "$out$err"
	fi
	is "$(get full.test / | head -n 1)" "$1" 'and is in effect'
	is "$(lines "$(containers full)")" 2 'with two containers'
	ok 'status reports no problem' within 20 ctl status
}
status_says() {
	ctl status | grep -q "$1"
}

store_disk() { # store_disk VERSION
	before=$(containers full)
	load_start full.test /
	fill "$cluster_dir/state/store"
	# The rest of the last page may still take some entries.
	tries=0
	while deploy "none-$tries" && [ "$code" -eq 0 ] && [ "$tries" -lt 5 ]; do
		tries=$((tries + 1))
		before=$(containers full)
		fill "$cluster_dir/state/store"
	done
	exits 6 "$1, the store's disk is full: the deploy is refused, nothing has changed"
	like "$out$err" "the store's disk.* is full: .*$cluster_dir/state/store/.*: no space left on device" 'naming the disk'
	like "$out$err" 'free space on that disk|lease of namespace full' 'and the next step'
	ok 'status reports the disk' within 20 status_says "the disk of the store is full ($cluster_dir/state/store"
	run ctl status
	exits 1 'with exit code 1'
	like "$(cat "$work/dev.log")" "meshd +error: the disk of the store is full" 'meshd logs it'
	empty "$cluster_dir/state/store"
	goes_on "room-$1"
	load_end
	load_was_clean 'traffic continued'
}

# A store that is killed while its disk is full comes back with all its entries.
store_killed() {
	fill "$cluster_dir/state/store"
	old=$(pid_of store)
	kill -KILL "$old"
	killed_restarted() {
		[ -n "$(pid_of store)" ] && [ "$(pid_of store)" != "$old" ]
	}
	ok 'killed while its disk is full, the store starts again' within 20 killed_restarted
	ok 'with its entries' within 20 status_says '^  full '
	empty "$cluster_dir/state/store"
	goes_on "killed-$1"
}

# The local mirrors are not written: requests go through the store, and the mirrors follow later.
bus_disk() {
	fill "$cluster_dir/state/bus"
	deploy "no-mirror-$1"
	exits 0 "the local bus's disk is full: a deploy needs the store alone"
	serves "no-mirror-$1"
	ok 'status reports it' within 20 status_says "the disk of the local bus is full ($cluster_dir/state/bus"
	empty "$cluster_dir/state/bus"
	goes_on "mirror-$1"
	mirrors_follow() {
		ctl --json status | tr -d ' \n' | grep -q '"behind":0'
	}
	ok 'the mirrors have followed' within 60 mirrors_follow
}

agent_disk() {
	fill "$cluster_dir/state/agentd"
	load_start full.test /
	deploy "no-state-$1"
	exits 6 "the disk of agentd's state is full: the deploy is refused"
	like "$err" "the epoch on machine [a-z0-9]*: the disk of agentd's state is full \\($cluster_dir/state/agentd\\)" 'naming the disk'
	like "$err" '; free space there, then deploy again' 'and the next step'
	load_end
	load_was_clean 'traffic continued'
	empty "$cluster_dir/state/agentd"
	goes_on "state-$1"
}

# HAProxy is configured through its sockets; one that starts now would have the routes of the files. routed confirms
# nothing that it has not stored: what the commit replaced stays until there is room.
gateway_disk() {
	replaced=$(containers full)
	fill "$cluster_dir/state/routed"
	load_start full.test /
	deploy "no-files-$1"
	exits 7 "the disk of the gateway's files is full: the deploy commits, its clean-up is pending"
	like "$err" 'routed of machine [a-z0-9]* has not confirmed .* cannot write .*/table.json: No space left on device' 'naming the file'
	like "$err" 'run `ployzctl deploy sweep full`' 'and the next step'
	ok 'the new revision is in effect' serves "no-files-$1"
	is "$(containers full | grep -c -F "$replaced")" 2 'what it replaced is untouched'
	ok 'status reports it' within 10 status_says 'cannot write .*/table.json: No space left on device'
	is "$(grep -c 'routed .*error: cannot write .*/table.json' "$work/dev.log")" 1 'routed has logged it once'
	empty "$cluster_dir/state/routed"
	ok 'once there is room the files are written again' within 10 \
		grep -q "gateway's files are written again" "$work/dev.log"
	run timeout 150 ployzctl --dir "$cluster_dir" deploy sweep full
	exits 0 'and a sweep finishes the clean-up'
	is "$(containers full | grep -c -F "$replaced")" 0 'what the deploy replaced is removed'
	load_end
	load_was_clean 'traffic continued'
	goes_on "files-$1"
}

servers() {
	if [ "${FAULTS-}" = whole ]; then
		for server in "$BUILD"/nats/*/nats-server; do
			version=$(basename "$(dirname "$server")")
			if dpkg --compare-versions "$version" ge 2.10; then
				echo "$version"
			fi
		done
	else
		echo installed
	fi
}

for version in $(servers); do
	for part in store bus agentd routed; do
		disk "$work/dev-$version/state/$part" 24m
	done
done
# The engine has to see these disks: where cgroups are not mounted, dockerd keeps the mounts that exist at its start.
unset DOCKER_HOST ENGINE_PRIVATE
engine_start_own || bail "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
for version in $(servers); do
	cluster_dir=$work/dev-$version
	[ "$version" = installed ] || PATH=$BUILD/nats/$version:$plain_path
	cluster_start
	PATH=$plain_path
	deploy one
	exits 0 "nats-server $version: a deploy on small disks"
	store_disk "$version"
	if [ "${FAULTS-}" = whole ]; then
		store_killed "$version"
		bus_disk "$version"
	fi
	agent_disk "$version"
	gateway_disk "$version"
	end_pid "$dev_pid" 30
done

# Another engine, on a small disk.
unset DOCKER_HOST ENGINE_PRIVATE
ENGINE_TMPDIR=$work/engine
disk "$ENGINE_TMPDIR" 64m
engine_start_own || bail "$engine_reason"
engine_image "$image:v1" || bail 'the engine takes no image'
cluster_dir=$work/dev-engine
cluster_start
deploy one
exits 0 'an engine with a small disk: a deploy'
load_start full.test /
fill "$ENGINE_TMPDIR"
deploy two
exits 6 "the engine's disk is full: the deploy fails, nothing has changed"
like "$err" "the container engine's disk on machine [a-z0-9]* is full \\($ENGINE_TMPDIR.*no space left on device" 'naming the disk'
like "$err" 'free space there, then deploy again' 'and the next step'
load_end
load_was_clean 'traffic continued'
ok 'the old revision is in effect' serves one
empty "$ENGINE_TMPDIR"
goes_on three
end_pid "$dev_pid" 30
done_testing
