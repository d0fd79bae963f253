#!/bin/sh
# The window of a stop-first update: its old instance is drained or stopped, its candidate starts or is ready, and the
# deploy has not committed. Then the holder, its lease, the participant, or several of them are lost. Without a further
# command the committed instance runs again within 45 s (presumed abort, agentd(8)), and its candidate does not run beside
# it. Afterwards the next deploy succeeds. All points of a victim run at the same time, each in a namespace of its own.
#
# Victims: `leased agentd`: kill -9; `both`: of both, and of the ployzctl that follows the deploy and would resolve its
# outcome; `lease`: `ployzctl lease break`; `stopped`: leased is stopped (SIGSTOP) for 45 s and continues then; `store`:
# leased and ployzctl are killed, and the store is away for 25 s; `leader`: leased and ployzctl are killed, and so is the
# leader of PLOYZ_INTENT, one of three stores.
#
#   FAULTS=whole    every victim at every point, on one and on three replicas; otherwise one round
#   ONLY='VICTIM/POINT …'   one round of these
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh
. tests/lib/crash.sh

AGAIN_CS=4500 # from the fault until what is committed runs
STOPPED_S=45
STORE_AWAY_S=25
# Failpoints of leased(8), and `starting`: while the candidate starts. After `abort` the deploy has failed already.
POINTS='stop candidate starting manifest query commit abort resume close'

export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"

# manifest NAMESPACE NAME [ARGUMENT…]: `web` is never out of service, `worker` is stopped first; ARGUMENTs are its own.
manifest() {
	manifest_ns=$1 manifest_name=$2
	shift 2
	web_manifest "$manifest_ns" 1 web
	cat <<-END
	  worker:
	    image: $image:v1
	    command: [/bin/testsvc, --name, $manifest_name$(for arg; do printf ', "%s"' "$arg"; done)]
	    ports: {http: {port: 8080}}
	    ready: {http: {port: http, path: /health}, interval: 200ms, start_period: 60s}
	    update: stop-first
	    stop_grace: 1s
	END
}

# deploy NAMESPACE LABEL [ARGUMENT…]: in the background; its output in $work/LABEL-NAMESPACE.
deploy() {
	deploy_ns=$1 deploy_label=$2
	shift 2
	number=$((number + 1))
	manifest "$deploy_ns" "w$number" "$@" >"$work/$deploy_ns.yaml"
	ctl_start "$work/$deploy_label-$deploy_ns" deploy -f "$work/$deploy_ns.yaml"
}

worker_starts() {
	grep -q 'worker/0 starting on' "$work/mid-$1"
}

reached() { # reached NAMESPACE POINT
	case $2 in
	starting) worker_starts "$1" ;;
	*) held "$2" "$work/mid-$1" ;;
	esac
}

# The instance of worker that the head of the namespace names.
committed_worker() {
	show_head "$1" && grep -o "\"instance\":\"$1-worker-[^\"]*\"" "$work/head-$1" | cut -d '"' -f 4
}

# runs_alone NAMESPACE: the committed instance of worker runs and is ready, and no other one runs.
runs_alone() {
	worker=$(committed_worker "$1") && [ -n "$worker" ] || return 1
	# shellcheck disable=SC2046 # a list of containers
	[ "$(life $(containers "$1" worker) | grep -c ' true ')" -eq 1 ] && all_run "$worker" &&
		ctl --json ps "$1" | tr '{' '\n' | grep "\"id\":\"$worker\"" | grep -q '"state":"ready"'
}

namespace_of() {
	echo "$1" | tr / -
}

# --- faults

# kill_clients VICTIM: of its deploys.
kill_clients() {
	for pair in $pairs; do
		[ "${pair%/*}" != "$1" ] || kill -KILL "$(cat "$work/mid-$(namespace_of "$pair").pid")"
	done
}

fault() { # fault VICTIM
	case $1 in
	leased | agentd) kill -KILL "$(pid_of "$1")" ;;
	both)
		kill_clients both
		kill -KILL "$(pid_of leased)" "$(pid_of agentd)"
		;;
	lease)
		for broken in $pairs; do
			[ "${broken%/*}" = lease ] || continue
			ctl lease break --yes --why 'a test' "$(namespace_of "$broken")" >"$work/break" 2>&1 ||
				fail "the lease of $broken is broken" "$(cat "$work/break")"
		done
		;;
	stopped)
		stopped=$(pid_of leased)
		at_end "kill -CONT $stopped 2>/dev/null"
		kill -STOP "$stopped"
		;;
	store)
		kill_clients store
		keep_away leased store
		let_back leased
		;;
	leader)
		kill_clients leader
		within 20 leader_of PLOYZ_INTENT
		kill -KILL "$(pid_of leased)" "$(pid_of "$(leader_of PLOYZ_INTENT)")"
		;;
	esac
}

# fault_over VICTIM: ends what lasts for a time of its own.
fault_over() {
	case $1 in
	store)
		within $STORE_AWAY_S since_s $STORE_AWAY_S
		let_back store
		;;
	esac
}

since_s() {
	[ $(($(centiseconds) - since)) -ge $(($1 * 100)) ]
}

# fault_end VICTIM: what is left of the fault when the committed instances run.
fault_end() {
	[ "$1" = stopped ] || return 0
	within $STOPPED_S since_s $STOPPED_S
	kill -CONT "$stopped"
	for pair in $pairs; do
		[ "${pair%/*}" = stopped ] || continue
		ns=$(namespace_of "$pair")
		within 20 ctl_ended "$work/mid-$ns" || add_problem "$ns" 'its deploy does not end when leased continues'
		runs_alone "$ns" || add_problem "$ns" 'the committed instance does not run any more when leased has continued'
	done
}

# --- one round

add_problem() { # add_problem NAMESPACE TEXT…
	problem_ns=$1
	shift
	printf '%s\n' "$*" >>"$work/problems-$problem_ns"
}

# prepare: each namespace has a committed worker, and its next deploy waits at its point.
prepare() {
	for pair in $pairs; do
		ns=$(namespace_of "$pair")
		: >"$work/problems-$ns"
		deploy "$ns" first
	done
	for pair in $pairs; do
		ns=$(namespace_of "$pair") point=${pair#*/}
		within 60 ctl_ended "$work/first-$ns"
		[ "$(ctl_code "$work/first-$ns")" = 0 ] || add_problem "$ns" "the first deploy: $(cat "$work/first-$ns")"
		committed_worker "$ns" >"$work/worker-$ns"
		load -k 1 -n 1 -r 10 -H "$ns.test" "$gateway" / >"$work/load-$ns" 2>&1 &
		load_pids="$load_pids $!"
		end_later $!
		[ "$point" = starting ] || : >"$PLOYZ_FAILPOINT/$ns.$point"
		case $point in
		starting) deploy "$ns" mid --start-after 20000 ;;
		abort | resume | close) deploy "$ns" mid --exit 3 ;;
		*) deploy "$ns" mid ;;
		esac
	done
	for pair in $pairs; do
		ns=$(namespace_of "$pair")
		within 60 reached "$ns" "${pair#*/}" || add_problem "$ns" "the deploy does not get there: $(cat "$work/mid-$ns")"
	done
}

# wait_for_workers: waits until the committed instance of each namespace runs; writes the time to $work/again-NAMESPACE.
wait_for_workers() {
	waiting=$pairs
	while [ -n "$waiting" ] && [ $(($(centiseconds) - since)) -lt $AGAIN_CS ]; do
		still=
		for pair in $waiting; do
			ns=$(namespace_of "$pair")
			if runs_alone "$ns"; then
				seconds $(($(centiseconds) - since)) >"$work/again-$ns"
			else
				still="$still $pair"
			fi
		done
		waiting=$still
		sleep 0.2
	done
	for pair in $waiting; do
		ns=$(namespace_of "$pair")
		add_problem "$ns" "the committed instance does not run after 45 s: $(committed_worker "$ns")
$(life $(containers "$ns" worker))
$(ctl ps "$ns" 2>&1)"
	done
}

# head_is_right NAMESPACE: only a deploy that went on without its lost participant may have committed.
head_is_right() {
	committed_worker "$1" >"$work/after-$1"
	cmp -s "$work/worker-$1" "$work/after-$1" && return
	case $1 in
	agentd-*) ;;
	*) add_problem "$1" "another instance is committed: $(cat "$work/after-$1") instead of $(cat "$work/worker-$1")" ;;
	esac
}

next_deploys() {
	for pair in $pairs; do
		ns=$(namespace_of "$pair")
		head_is_right "$ns"
		within 20 ctl_ended "$work/mid-$ns"
		deploy "$ns" next
	done
	for pair in $pairs; do
		ns=$(namespace_of "$pair")
		within 60 ctl_ended "$work/next-$ns"
		[ "$(ctl_code "$work/next-$ns")" = 0 ] || add_problem "$ns" "the next deploy: $(cat "$work/next-$ns")"
		within 10 runs_alone "$ns" || add_problem "$ns" "the next worker does not run alone: $(life $(containers "$ns" worker))"
		[ "$(lines "$(containers "$ns")")" -eq 2 ] || add_problem "$ns" "containers: $(life $(containers "$ns"))"
	done
	# shellcheck disable=SC2086 # a list of pids
	kill -TERM $load_pids
	# shellcheck disable=SC2086
	wait $load_pids
}

# round PAIR…: VICTIM/POINT each.
round() {
	pairs=$* load_pids=''
	prepare
	victims=$(printf '%s\n' "$@" | cut -d / -f 1 | awk '!seen[$0]++')
	since=$(centiseconds)
	for victim in $victims; do
		fault "$victim"
	done
	rm -f "$PLOYZ_FAILPOINT"/*
	for victim in $victims; do
		fault_over "$victim"
	done
	wait_for_workers
	for victim in $victims; do
		fault_end "$victim"
	done
	next_deploys
	for pair in $pairs; do
		result "$pair"
	done
}

result() { # result PAIR
	ns=$(namespace_of "$1")
	problems=$(cat "$work/problems-$ns")
	case $(cat "$work/load-$ns") in
	'requests 0 '*) wrong 'the load sent no request' ;;
	*' status 0 errors 0 '*) ;;
	*) wrong "$(cat "$work/load-$ns")" ;;
	esac
	case $(cmp -s "$work/worker-$ns" "$work/after-$ns" && echo same) in
	same) outcome_agrees "$(deploy_id "$work/mid-$ns")" no ;;
	*) outcome_agrees "$(deploy_id "$work/mid-$ns")" yes ;;
	esac
	case_result "$kind${1%/*} at ${1#*/}: what is committed runs after $(cat "$work/again-$ns" 2>/dev/null)" "$work/mid-$ns" "$work/dev.log"
	ctl ns rm --yes "$ns" >"$work/out" 2>&1
}

whole_round() { # whole_round VICTIM
	whole=
	for point in $POINTS; do
		whole="$whole $1/$point"
	done
	# shellcheck disable=SC2086 # a list of pairs
	round $whole
}

engine_start_kept || skip_all "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
gates_make
number=0 kind=''
if [ -n "${ONLY-}" ]; then
	case $ONLY in
	*leader*) cluster_start_three ;;
	*) cluster_start ;;
	esac
	# shellcheck disable=SC2086 # a list of pairs
	round $ONLY
elif [ "${FAULTS-}" = whole ]; then
	cluster_start
	for victim in leased lease stopped agentd both store; do
		whole_round "$victim"
	done
	end_pid "$dev_pid" 30
	cluster_dir=$work/dev-three kind='three replicas, '
	cluster_start_three
	for victim in leader lease both; do
		whole_round "$victim"
	done
else
	cluster_start
	round lease/candidate lease/commit both/stop both/starting
fi
done_testing
