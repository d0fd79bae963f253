#!/bin/sh
# A gateway or a resolver that is away while its proxy serves: what a commit replaced is not removed before it has
# confirmed, no deploy fails because of it, the pending clean-up is recorded, and once it is back a sweep removes
# everything and closes the record. Several namespaces at the same time, each with another change.
#
# Away: `stopped` by SIGSTOP, or `gone`: killed, and not started again before the test lets it.
#
#   FAULTS=whole        routed and dnsd, stopped and gone, before and after they have confirmed; otherwise one round
#   ONLY='DAEMON/HOW/PHASE …'   these rounds
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh
. tests/lib/crash.sh

# What the deploy does: another version; fewer replicas; a service less; a namespace less; an instance that is stopped first.
CHANGES='replace scale drop remove stopfirst'

export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"

# worker NAME [LINE]
worker() {
	cat <<-END
	  worker:
	    image: $image:v1
	    command: [/bin/testsvc, --name, $1]
	    ports: {http: {port: 8080}}
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 1s
	END
	[ $# -lt 2 ] || echo "    $2"
}

# before CHANGE NAMESPACE, after CHANGE NAMESPACE NAME: the manifests of the first and of a later deploy.
before() {
	case $1 in
	scale) web_manifest "$2" 3 one ;;
	drop) web_manifest "$2" 1 one && worker one ;;
	stopfirst) web_manifest "$2" 1 one && worker one 'update: stop-first' ;;
	*) web_manifest "$2" 2 one ;;
	esac
}

after() {
	case $1 in
	scale) web_manifest "$2" 1 one ;;
	drop) web_manifest "$2" 1 one ;;
	stopfirst) web_manifest "$2" 1 one && worker "$3" 'update: stop-first' ;;
	*) web_manifest "$2" 2 "$3" ;;
	esac
}

# --- daemons that are away

take_away() { # take_away DAEMON HOW
	case $2 in
	stopped)
		away_pid=$(pid_of "$1")
		at_end "kill -CONT $away_pid 2>/dev/null"
		kill -STOP "$away_pid"
		;;
	gone) keep_away "$1" ;;
	esac
}

bring_back() { # bring_back DAEMON HOW
	case $2 in
	stopped) kill -CONT "$away_pid" ;;
	gone) let_back "$1" ;;
	esac
}

# --- one round

# gone_of NAMESPACE: those containers of before the deploy that do not exist any more.
gone_of() {
	containers "$1" >"$work/now-$1"
	grep -vxFf "$work/now-$1" "$work/old-$1" | tr '\n' ' '
}

is_pending() { # is_pending DEPLOY
	ctl --json deploy ls | grep "\"deploy\":\"$1\"" | grep -q '"epoch":[0-9]*,"phase":"cleanup_pending"'
}

committed_count() {
	ctl --json ns show "$1" 2>/dev/null | grep -o '"instance":' | wc -l
}

ns_serves() {
	[ -n "$(get "$1.test" /)" ]
}

start_deploy() { # start_deploy LABEL CHANGE NAMESPACE NAME
	case $1:$2 in
	mid:remove) ctl_start "$work/$1-$3" ns rm --yes "$3" ;;
	next:drop) ctl_start "$work/$1-$3" deploy sweep "$3" ;;
	*)
		after "$2" "$3" "$4" >"$work/$3.yaml"
		ctl_start "$work/$1-$3" deploy -f "$work/$3.yaml"
		;;
	esac
}

ended_with() { # ended_with LABEL NAMESPACE CODE…: the deploy has ended with one of these codes.
	ended_file=$work/$1-$2
	shift 2
	within 90 ctl_ended "$ended_file" || wrong "it does not end: $(cat "$ended_file")"
	case " $* " in
	*" $(ctl_code "$ended_file") "*) ;;
	*) wrong "it ended with $(ctl_code "$ended_file"), expected $*: $(cat "$ended_file")" ;;
	esac
}

first_deploys() {
	for change in $changes; do
		before "$change" "$prefix-$change" >"$work/first.yaml"
		ctl_start "$work/first-$prefix-$change" deploy -f "$work/first.yaml"
		within 5 grep -q '^deploy ' "$work/first-$prefix-$change" # it has read the manifest
	done
	for change in $changes; do
		ns=$prefix-$change
		within 60 ctl_ended "$work/first-$ns"
		[ "$(ctl_code "$work/first-$ns")" = 0 ] || fail "$ns: the first deploy" "$(cat "$work/first-$ns")"
		containers "$ns" >"$work/old-$ns"
		# The routes of a namespace that is removed go with its commit.
		[ "$change" != remove ] || continue
		load -k 1 -n 1 -r 10 -H "$ns.test" "$gateway" / >"$work/load-$ns" 2>&1 &
		eval "load_$change=$!"
		end_later $!
	done
}

# until_phase PHASE: the deploys of all namespaces, up to this phase.
until_phase() {
	for change in $changes; do
		: >"$PLOYZ_FAILPOINT/$prefix-$change.$1"
		start_deploy mid "$change" "$prefix-$change" two
	done
	for change in $changes; do
		within 60 held "$1" "$work/mid-$prefix-$change" ||
			fail "$prefix-$change: the deploy reaches $1" "$(cat "$work/mid-$prefix-$change")"
	done
}

end_load() { # end_load CHANGE
	[ "$1" != remove ] || return 0
	eval "kill -TERM \$load_$1"
	eval "wait \$load_$1"
	case $(cat "$work/load-$prefix-$1") in
	'requests 0 '*) wrong 'the load sent no request' ;;
	*' status 0 errors 0 '*) ;;
	*) wrong "$(cat "$work/load-$prefix-$1")" ;;
	esac
}

# away_from PHASE DAEMON HOW: the deploys of all namespaces continue with this phase while the daemon is away.
away_from() {
	first_deploys
	until_phase "$1"
	take_away "$2" "$3"
	rm -f "$PLOYZ_FAILPOINT"/*
}

# pending_round DAEMON HOW: away before the deploys confirm.
pending_round() {
	away_from confirm "$1" "$2"
	for change in $changes; do
		ns=$prefix-$change
		ended_with mid "$ns" 7
		[ -z "$(gone_of "$ns")" ] || wrong "removed without its confirmation: $(gone_of "$ns")"
		grep -q "$1 of machine .* has not confirmed" "$work/mid-$ns" || wrong "$1 is not named: $(cat "$work/mid-$ns")"
		grep -q 'deploy sweep' "$work/mid-$ns" || wrong "no next step: $(cat "$work/mid-$ns")"
		is_pending "$(id_of "$ns" mid)" || wrong "deploy ls: $(ctl deploy ls 2>&1 | grep "$ns")"
		case_result "$1 $2, $change: the clean-up is pending" "$work/mid-$ns" "$work/dev.log"
	done
	ctl status >"$work/status" 2>&1 && wrong 'status exits 0'
	grep -q 'cleanup_pending' "$work/status" || wrong 'status does not report it'
	case_result "$1 $2: status reports it" "$work/status"

	# The next deploys. That of `scale` changes nothing, and `drop` is only swept.
	for change in $changes; do
		start_deploy next "$change" "$prefix-$change" three
	done
	[ "${FAULTS-}" = whole ] || let_go_after_commit "$1" "$2"
	for change in $changes; do
		ns=$prefix-$change
		if [ "${FAULTS-}" = whole ]; then
			ended_with next "$ns" 7
			[ -z "$(gone_of "$ns")" ] || wrong "removed without its confirmation: $(gone_of "$ns")"
		else
			ended_with next "$ns" 0
		fi
		case_result "$1 $2, $change: the next deploy does not fail for it" "$work/next-$ns" "$work/dev.log"
	done
	[ "${FAULTS-}" != whole ] || bring_back "$1" "$2"
	swept "$1" "$2"
}

# The daemon is back while the next deploys wait for it.
let_go_after_commit() {
	within 30 grep -q ' cleaning$' "$work/next-$prefix-replace"
	bring_back "$1" "$2"
}

id_of() { # id_of NAMESPACE LABEL
	deploy_id "$work/$2-$1"
}

nothing_pending() {
	! ctl --json deploy ls | grep -q '"epoch":[0-9]*,"phase":"cleanup_pending"'
}

# sweep_with DAEMON: it is back.
sweep_with() {
	within 20 ctl_answers "$1" || wrong "$1 does not answer again"
	ctl deploy sweep >"$work/sweep" 2>&1 || wrong "the sweep ends with $?"
}

# only_committed NAMESPACE: it has as many containers as its head has instances.
only_committed() {
	[ "$(lines "$(containers "$1")")" -eq "$(committed_count "$1")" ] ||
		wrong "$1: containers: $(life $(containers "$1")); committed: $(committed_count "$1")"
}

swept() { # swept DAEMON HOW
	sweep_with "$1"
	within 5 nothing_pending || wrong "deploy ls: $(ctl deploy ls)"
	within 20 ctl status || wrong "status: $(ctl status 2>&1)"
	case_result "$1 $2: once it is back a sweep finishes every clean-up" "$work/sweep" "$work/dev.log"
	for change in $changes; do
		ns=$prefix-$change
		end_load "$change"
		only_committed "$ns"
		case $change in
		scale | drop) ns_serves "$ns" || wrong 'it does not serve' ;;
		stopfirst) ;;
		*) within 10 answers "$ns.test" / three || wrong "the last revision is not in effect: $(get "$ns.test" /)" ;;
		esac
		case_result "$1 $2, $change: only what is committed is left"
		ctl ns rm --yes "$ns" >"$work/out" 2>&1
	done
}

ctl_answers() {
	as operator request "ployz.v1.$(cat "$cluster_dir/etc/credentials/machine").$1.status" '{}' | grep -q '"ok"'
}

# clean_round DAEMON HOW: it has confirmed, and is away while the old instances are drained and removed.
clean_round() {
	away_from clean "$1" "$2"
	for change in $changes; do
		ns=$prefix-$change
		ended_with mid "$ns" 0 7
		[ "$(ctl_code "$work/mid-$ns")" != 7 ] || is_pending "$(id_of "$ns" mid)" || wrong 'deploy ls does not show it'
		end_load "$change"
		case_result "$1 $2 after its confirmation, $change: the clean-up ends" "$work/mid-$ns" "$work/dev.log"
	done
	bring_back "$1" "$2"
	sweep_with "$1"
	within 20 ctl status || wrong "status: $(ctl status 2>&1)"
	for change in $changes; do
		ns=$prefix-$change
		only_committed "$ns"
		ctl ns rm --yes "$ns" >"$work/out" 2>&1
	done
	case_result "$1 $2 after its confirmation: nothing is left" "$work/sweep"
}

gateway_round() { # gateway_round DAEMON HOW PHASE
	prefix=$1-$2-$3
	case $3 in
	confirm) pending_round "$1" "$2" ;;
	clean) clean_round "$1" "$2" ;;
	esac
}

engine_start_kept || skip_all "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
gates_make
cluster_start
changes=$CHANGES
if [ -n "${ONLY-}" ]; then
	for round in $ONLY; do
		# shellcheck disable=SC2046 # DAEMON HOW PHASE
		gateway_round $(echo "$round" | tr / ' ')
	done
elif [ "${FAULTS-}" = whole ]; then
	for daemon in routed dnsd; do
		for how in stopped gone; do
			for phase in confirm clean; do
				gateway_round $daemon $how $phase
			done
		done
	done
else
	gateway_round routed stopped confirm
fi
done_testing
