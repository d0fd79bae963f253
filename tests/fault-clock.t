#!/bin/sh
# The wall clock stepped by an hour, forward and back, under everything of the cluster that is not Go: nothing expires,
# nothing hangs, a deploy that runs across the step succeeds and keeps its lease.
#
# libfaketime fakes CLOCK_REALTIME alone, for the daemons, HAProxy and ployzctl. The nats-servers and dockerd are Go,
# ask the kernel without libc, and keep the machine's own clock: between them and the daemons the step shows as clocks
# that differ by an hour. Their own behaviour at a step is not tested here.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

library=$(find /usr/lib -name libfaketimeMT.so.1 | head -n 1)
[ -n "$library" ] || bail 'libfaketime is not installed: tests/setup/packages check'
stamp=$work/clock
${CC:-cc} -D_GNU_SOURCE -shared -fPIC -O2 -o "$work/before-faketime.so" tests/lib/before-faketime.c || bail 'cc builds nothing'
library=$work/before-faketime.so:$library

engine_start || bail "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
at_end "engine_image_rm $image:v1"

# faked COMMAND…: under the clock of this test.
faked() {
	LD_PRELOAD=$library FAKETIME_TIMESTAMP_FILE=$stamp FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 \
		FAKETIME_NO_CACHE=1 "$@"
}
# Written at once: a reader must never see half of it.
step() {
	echo "$1" >"$stamp.new"
	mv "$stamp.new" "$stamp"
}
hour() {
	faked date -u +%s
}

web() { # web NAME [ARGUMENT…]
	web_name=$1
	shift
	cat <<-END
	namespace: clock
	services:
	  web:
	    image: $image:v1
	    replicas: 2
	    command: [/bin/testsvc, --name, $web_name$(for arg; do printf ', "%s"' "$arg"; done)]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [clock.test]}}]
	    ready: {http: {port: http, path: /health}, interval: 200ms, start_period: 40s}
	    stop_grace: 1s
	END
}
deploy() {
	web "$@" >"$work/next.yaml"
	run timeout 60 "$BUILD/bin/ployzctl" --dir "$cluster_dir" deploy -f "$work/next.yaml"
}

step +0
export LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE="$stamp" FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 \
	FAKETIME_NO_CACHE=1
# In a build with sanitizers theirs would have to come before it.
export ASAN_OPTIONS="$ASAN_OPTIONS:verify_asan_link_order=0"
cluster_start
unset LD_PRELOAD
like "$(tr '\0' '\n' <"/proc/$(pid_of leased)/environ")" '^LD_PRELOAD=.*libfaketime' 'the daemons run under it'
like "$(cat "/proc/$(pid_of leased)/maps")" libfaketime 'and have it loaded'
deploy one
exits 0 'a deploy'

real=$(date -u +%s)
for by in +3600 -3600; do
	before=$(containers clock)
	load_start clock.test /
	# Across the step, long enough that the lease is renewed after it.
	web "across$by" --start-after 13000 >"$work/next.yaml"
	ctl deploy -f "$work/next.yaml" >"$work/across.out" 2>&1 </dev/null &
	hand=$!
	at_end "end_pid $hand"
	ok "$by s: a deploy is under way" within 20 candidates_start
	step "$by"
	differs=$(($(hour) - $(date -u +%s) - by))
	ok 'the clock is another' test "$differs" -ge -2 -a "$differs" -le 2
	is "$(containers clock | grep -c -F "$before")" 2 'the containers are there'
	ok 'names are answered' both_have_names clock
	ok 'the lease is held' lease_is_held clock
	run ctl deploy -f "$work/next.yaml"
	exits 4 'another deploy is refused'
	like "$err" 'free in at most [0-9.]+ (m?s)$|free in at most [12]?[0-9]' 'and told of at most the term'
	wait "$hand"
	is "$?" 0 'the deploy across the step is done'
	unlike "$(cat "$work/across.out")" 'LEASE_LOST|lease .* lost|could not be renewed' 'its lease was not lost'
	is "$(get clock.test / | head -n 1)" "across$by" 'and it serves'
	deploy "after$by"
	exits 0 'the next deploy'
	run timeout 10 "$BUILD/bin/ployzctl" --dir "$cluster_dir" logs web
	exits 0 'output is shown'
	# What waits by the clock shows when connections have to come back.
	for name in bus store; do
		old=$(pid_of "$name")
		kill -KILL "$old"
		ok "the $name is killed and there again" within 20 restarted "$name" "$old"
	done
	ok 'the store answers again' within 15 store_answers
	deploy "again$by"
	exits 0 'a deploy after that'
	load_end
	load_was_clean 'traffic went on'
	ok 'all is as it should be' within 20 ctl status
	[ "${FAULTS-}" = whole ] || break
done
ok 'all of it in less time than the clock was stepped by' test $(($(date -u +%s) - real)) -lt 600
step +0
deploy back
exits 0 'the clock steps back again: a deploy'
unlike "$(cat "$work/dev.log")" 'was killed by SIGABRT|watchdog' 'nobody was ended for it'
done_testing
