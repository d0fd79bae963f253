#!/bin/sh
# Everything killed at once, and started again: what was committed serves, without a command, from the same
# containers, which never stopped.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

PROGRAMS='meshd leased placerd routed dnsd agentd bus store gateway'

export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"

deploy() {
	serving=$1
	web_manifest whole 2 "$1" >"$work/web.yaml"
	run ctl deploy -f "$work/web.yaml"
	exits 0 "$2"
	committed=$(containers whole)
	# shellcheck disable=SC2086 # a list of containers
	lived=$(life $committed)
}

all_pids() {
	for name in $PROGRAMS; do
		pid_of "$name"
	done
	child_of "$(pid_of gateway)" haproxy
}

names_answer() {
	[ "$(lines "$(ask web.whole.ployz.internal A)")" -eq 2 ]
}

both_ready() {
	[ "$(ctl --json ps | grep -c '"ready"')" -eq 2 ]
}

# as_before WHAT: without a command, all is as it was.
as_before() {
	ok "$1: it serves" within 10 answers whole.test / "$serving"
	ok "$1: names are answered" within 10 names_answer
	ok "$1: every daemon answers" within 10 ctl status
	ok "$1: both are ready" within 10 both_ready
	# shellcheck disable=SC2086 # a list of containers
	is "$(life $committed)" "$lived" "$1: from the same containers, which went on"
	is "$(containers whole)" "$committed" "$1: and no others"
	run ctl deploy -f "$work/web.yaml"
	exits 0 "$1: the same deploy"
	like "$out" 'nothing to change' "$1: finds nothing to change"
}

dev_again() {
	cluster_run
	within 30 cluster_is_up
	ok "$1: dev starts again" grep -q '^ready' "$work/dev.log"
}

held() {
	grep -q 'waiting before phase commit$' "$work/mid.out"
}

engine_start_kept || skip_all "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
cluster_start
deploy one 'a deploy'

# shellcheck disable=SC2046 # lists of pids, here and below
kill -KILL $(all_pids)
as_before 'every program'
deploy two 'the next deploy'

kill -KILL $(all_pids) "$(cat "$engine_own/pid")"
within 10 engine_answers "$DOCKER_HOST"
as_before 'and the engine'

kill -KILL "$dev_pid" $(all_pids)
within 10 gone "$dev_pid"
dev_again 'and dev'
as_before 'and dev'
deploy three 'the next deploy'

# In the middle of a deploy whose candidates are ready.
: >"$PLOYZ_FAILPOINT/whole.commit"
web_manifest whole 2 four >"$work/mid.yaml"
ctl deploy -f "$work/mid.yaml" >"$work/mid.out" 2>&1 </dev/null &
hand=$!
end_later $hand
ok 'candidates are ready beside it' within 20 held
is "$(lines "$(containers whole)")" 4 'that makes four containers'
kill -KILL "$dev_pid" "$hand" $(all_pids) "$(cat "$engine_own/pid")"
rm "$PLOYZ_FAILPOINT/whole.commit"
within 10 engine_answers "$DOCKER_HOST"
dev_again 'in the middle of a deploy'
ok 'it serves what was committed' within 10 answers whole.test / three
# shellcheck disable=SC2086 # a list of containers
is "$(life $committed)" "$lived" 'from containers that went on'
deploy five 'the next deploy'
is "$(lines "$(containers whole)")" 2 'has removed what the dead one left'
answers whole.test / five
is "$?" 0 'and is in effect'
done_testing
