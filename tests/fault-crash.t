#!/bin/sh
# The crash matrix: kill -9 of every program, and `lease break`, at every phase of a deploy, under a steady load of the
# gateway. A rollout is held before the phase (PLOYZ_FAILPOINT of leased(8)), the victim is killed, and the rollout
# continues without it. Each case is one result: traffic continued, nothing of the committed head was touched, the next
# deploy began in time and succeeded, nothing of an earlier deploy is left, and the deploy's outcome is what the log holds.
#
#   ONLY='VICTIM/PHASE …'   only these
#   REPLICAS=3              a store of three replicas (tests/fault-replicas.t), with victims of its own
#   FAULTS=whole            every victim at every phase; otherwise a selection
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh
. tests/lib/crash.sh

# `lease`: an operator breaks the lease. `leader`: the store that leads PLOYZ_INTENT; `follower`: another one; `stores`: all
# three.
case ${REPLICAS-1} in
1) VICTIMS='leased lease agentd placerd routed dnsd meshd gateway gateway-worker dockerd bus store ployzctl' ;;
3) VICTIMS='leader stores follower leased lease bus agentd' ;;
esac
# `starting`: while the candidates start.
PHASES='lease head preview open list sweep plan lock claim prepare run start starting manifest query commit confirm clean unlock release'
ABORT_PHASES='abort resume close'
SERVE_CS=100 # from the gateway's death to the next answer

# How long it may take until what died works again and the next deploy has begun. Three stores elect a leader in up to 8 s.
back_cs() {
	case $1 in
	leader | stores | follower) echo 1500 ;;
	*) echo 300 ;;
	esac
}

export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"

# manifest NAME: web answers NAME. $pre_deploy, $start_after and $worker add to it; $worker is the code that an own
# service ends with, or `runs`.
manifest() {
	web_manifest tough 2 "$1" ${start_after:+--start-after "$start_after"}
	[ -z "$pre_deploy" ] || echo '    pre_deploy: {command: [/bin/true]}'
	case $worker in
	'') ;;
	runs) stopping_worker ;;
	*) stopping_worker ", --exit, \"$worker\"" ;;
	esac
}

stopping_worker() {
	cat <<-END
	  worker:
	    image: $image:v1
	    command: [/bin/testsvc, --name, worker${1-}]
	    ports: {http: {port: 8080}}
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    update: stop-first
	    stop_grace: 1s
	END
}

# --- the victims

victim_pids() {
	case $1 in
	# A dockerd that dies does not take its pid with it.
	dockerd)
		within 10 engine_answers "$DOCKER_HOST" && cat "$engine_own/pid"
		;;
	ployzctl) echo "$hand" ;;
	gateway) echo "$(pid_of gateway) $(child_of "$(pid_of gateway)" haproxy)" ;;
	gateway-worker) child_of "$(pid_of gateway)" haproxy ;;
	leader) pid_of "$(leader)" ;;
	follower) pid_of "$(leader | sed 's/^store$/1/; s/^store//' | tr 123 231 | sed 's/^1$//; s/^/store/')" ;;
	stores) echo "$(pid_of store) $(pid_of store2) $(pid_of store3)" ;;
	*) pid_of "$1" ;;
	esac
}

serves() {
	[ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 -H 'Host: tough.test' "http://$gateway/")" = 200 ]
}

# The stores may elect a leader just now.
leader() {
	within 20 leader_of PLOYZ_INTENT && leader_of PLOYZ_INTENT
}

# A lease that nobody holds is not broken: before the phase that takes it, and after the deploy has ended.
break_lease() {
	ctl lease break --yes --why 'a test' tough >"$work/break.out" 2>&1 || wrong "the lease is not broken: $(cat "$work/break.out")"
	[ "$1" = lease ] || grep -q '^state *free' "$work/break.out" || wrong "the lease was not held: $(cat "$work/break.out")"
	died=$(centiseconds)
}

# kill_victim NAME PHASE: sets $died to when.
kill_victim() {
	if [ "$1" = lease ]; then
		break_lease "$2"
		return
	fi
	pids=$(victim_pids "$1")
	if [ -z "$pids" ]; then
		wrong "$1 does not run"
		return
	fi
	# shellcheck disable=SC2086 # a list of pids
	kill -KILL $pids
	died=$(centiseconds)
	case $1 in
	gateway | gateway-worker)
		soon 3000 serves || wrong 'the gateway does not serve again'
		served=$(($(centiseconds) - died))
		said="$said; served again after $(seconds $served)"
		[ "$served" -le $SERVE_CS ] || wrong "the gateway served again after $(seconds $served)"
		;;
	esac
}

# --- one case

# The rollout of the next deploy has begun. A request that was refused before is repeated.
next_begun() {
	grep -q '^deploy ' "$work/next.out" && grep -Eq ' s  (planning|waiting)|nothing to change' "$work/next.out" && return
	if gone "$next"; then
		[ ! -s "$work/next.out" ] || cp "$work/next.out" "$work/next.refused"
		start_next
	fi
	return 1
}

start_next() {
	: >"$work/next.out"
	ctl deploy -f "$work/next.yaml" >"$work/next.out" 2>&1 </dev/null &
	next=$!
	end_later $next
}

# next_deploy CENTISECONDS: begins within that time of $since, succeeds, and is in effect.
next_deploy() {
	next_cs=$1
	number=$((number + 1))
	pre_deploy='' start_after='' worker=${worker:+runs}
	manifest "w$number" >"$work/next.yaml"
	: >"$work/next.refused"
	start_next
	if soon 3000 next_begun; then
		began=$(($(centiseconds) - since))
		said="$said; next deploy after $(seconds $began)"
		[ "$began" -le "$next_cs" ] || wrong "the next deploy began after $(seconds $began) only; before that:
$(cat "$work/next.refused")"
	else
		wrong 'the next deploy does not begin'
	fi
	wait "$next" || wrong "the next deploy ended with $?:
$(cat "$work/next.out")"
	answers tough.test / "w$number" || wrong "w$number is not in effect: $(get tough.test / | head -n 1)"
}

# The head is that of the next deploy, and its containers are all that there is.
settled() {
	id=$(deploy_id "$work/next.out")
	expected=$((revision + 1))
	read_head tough
	[ "$revision" = "$expected" ] || wrong "revision $revision, expected $expected"
	[ "$head_deploy" = "$id" ] || wrong "the head is of deploy $head_deploy, not $id"
	case $head in
	*'"open":'*) wrong "a deploy is still open: $head" ;;
	esac
	if [ "$(containers tough web)" != "$(of_deploy tough web "$id")" ] || [ "$(lines "$(containers tough web)")" -ne 2 ]; then
		wrong "containers of web: $(containers tough web | tr '\n' ' '); of the last deploy: $(of_deploy tough web "$id" | tr '\n' ' ')"
	fi
	# shellcheck disable=SC2046 # a list of containers
	case $worker:$(life $(containers tough worker)) in
	: | runs:*' true '*)
		[ "$(lines "$(containers tough worker)")" -le 1 ] || wrong "containers of worker: $(containers tough worker)"
		;;
	*) wrong 'worker does not run' ;;
	esac
}

a_candidate_starts() {
	ctl --json ps 2>/dev/null | grep -q '"state":"starting"'
}

# deploy_until PHASE: starts the deploy in which the victim dies, and waits until it has reached the phase.
deploy_until() {
	pre_deploy='' start_after=''
	case $1 in
	run) pre_deploy=yes ;;
	starting) start_after=1500 ;;
	abort | resume | close) worker=3 ;;
	esac
	number=$((number + 1))
	manifest "w$number" >"$work/mid.yaml"
	# Without the output of the deploy before.
	: >"$work/mid.out"
	[ "$1" = starting ] || : >"$PLOYZ_FAILPOINT/tough.$1"
	ctl deploy -f "$work/mid.yaml" >"$work/mid.out" 2>&1 </dev/null &
	hand=$!
	end_later $hand
	if [ "$1" = starting ]; then
		soon 2000 a_candidate_starts || wrong "no candidate starts:
$(cat "$work/mid.out")"
	else
		soon 2000 held "$1" "$work/mid.out" || wrong "the rollout does not reach $1:
$(cat "$work/mid.out")"
	fi
	mid=$(deploy_id "$work/mid.out")
}

# Leaves something to sweep: the candidates of a deploy that died before its commit.
leave_something() {
	deploy_until commit
	kill_victim leased commit
	rm -f "$PLOYZ_FAILPOINT/tough.commit"
	wait "$hand"
	within 10 ctl lease ls || wrong 'leased does not come back'
}

# mid_ends VICTIM: sets $outcome to how the deploy ended in which the victim died.
mid_ends() {
	case $1 in
	leased) outcome=dead ;;
	ployzctl)
		wait "$hand" 2>/dev/null
		ctl deploy attach "$mid" >"$work/mid.out" 2>&1
		outcome=$?
		;;
	*)
		wait "$hand"
		outcome=$?
		;;
	esac
	[ "$1" != dockerd ] || engine_returns
}

# A dockerd that is killed while it starts containers may never know them again; the test ends them.
engine_returns() {
	within 10 engine_answers "$DOCKER_HOST" || wrong 'the engine does not answer again'
	lost=$(engine_forgotten | cut -d ' ' -f 1)
	[ -n "$lost" ] || return 0
	said="$said; the engine has forgotten $(lines "$lost")"
	# shellcheck disable=SC2086 # a list of pids
	engine_forget $lost
}

# case_of VICTIM PHASE
case_of() {
	said='' since=
	read_head tough
	before=$head_deploy
	committed=$(containers tough web)
	lived=$(life $committed)
	serving=w$number
	case $1 in
	gateway | gateway-worker) ;;
	*) load_start tough.test / ;;
	esac
	[ "$2" != sweep ] || leave_something
	deploy_until "$2"
	kill_victim "$1" "$2"
	rm -f "$PLOYZ_FAILPOINT/tough.$2"
	mid_ends "$1"
	since=$(centiseconds)
	[ "$outcome" != dead ] || since=$died
	read_head tough
	if [ "$head_deploy" = "$before" ]; then
		committed_mid=no
		[ "$(life $committed)" = "$lived" ] || wrong "containers of the committed head were touched:
$lived
$(life $committed)"
		answers tough.test / "$serving" || wrong "$serving does not serve any more"
		case $outcome in
		0 | 7) wrong "it said done ($outcome) and was not committed" ;;
		esac
	else
		committed_mid=yes
		[ "$head_deploy" = "$mid" ] || wrong "the head is of deploy $head_deploy"
		[ "$(lines "$(of_deploy tough web "$mid")")" -ge 2 ] || wrong 'containers of the commit are gone'
	fi
	next_deploy "$(back_cs "$1")"
	settled
	outcome_agrees "$mid" "$committed_mid"
	case $1 in
	gateway | gateway-worker) serves || wrong 'the gateway does not serve' ;;
	*)
		load_end
		case $loaded in
		'requests 0 '*) wrong 'the load asked nothing' ;;
		*' status 0 errors 0 '*) ;;
		*) wrong "$loaded
$(cat "$work/load.err")" ;;
		esac
		;;
	esac
	case $1 in
	lease) what='lease broken' ;;
	*) what="$1 killed" ;;
	esac
	case_result "$what at $2: that deploy $(outcome_text "$outcome")$said" "$work/mid.out" "$work/dev.log"
}

# --- the matrix

matrix() {
	phases=$1
	shift
	for phase in $phases; do
		for victim; do
			case_of "$victim" "$phase"
		done
	done
}

# Victims and phases side by side until each has had its turn.
diagonal() {
	n=0
	for phase in $PHASES; do
		n=$((n + 1))
		victim=$(echo "$VICTIMS" | cut -d ' ' -f $(((n - 1) % $(echo "$VICTIMS" | wc -w) + 1)))
		case_of "$victim" "$phase"
	done
}

# Adds a service that is stopped before its next instance starts, for the phases of a deploy that fails.
with_worker() {
	worker=runs since=$(centiseconds)
	next_deploy 300
	read_head tough
}

engine_start_kept || skip_all "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
if [ "${REPLICAS-1}" = 3 ]; then
	gates_make
	cluster_start_three
else
	cluster_start
fi
machine=$(cat "$cluster_dir/etc/credentials/machine")
number=0 revision=0 worker='' said='' since=$(centiseconds)
next_deploy 300
if [ -n "${ONLY-}" ]; then
	# shellcheck disable=SC2086 # VICTIM PHASE
	for one in $ONLY; do
		case $one in
		*/abort | */resume | */close) [ -n "$worker" ] || with_worker ;;
		esac
		case_of "${one%/*}" "${one#*/}"
	done
elif [ "${FAULTS-}" = whole ]; then
	# shellcheck disable=SC2086 # a list of names
	matrix "$PHASES" $VICTIMS
	with_worker
	# shellcheck disable=SC2086 # a list of names
	matrix "$ABORT_PHASES" $VICTIMS
elif [ "${REPLICAS-1}" = 3 ]; then
	case_of leader open
	case_of stores manifest
	case_of leader commit
	case_of follower confirm
else
	diagonal
	with_worker
	case_of leased abort
	case_of agentd resume
	case_of bus close
fi
is "$(grep -E 'was killed by SIG|ended with code' "$work/dev.log" | grep -Ev 'SIGKILL|^dev +gateway ended with code 137')" '' \
	'nothing else died'
is "$(grep -E '^[a-z]+ +error:|has lost' "$work/dev.log")" '' 'and no program reported an error'
done_testing
