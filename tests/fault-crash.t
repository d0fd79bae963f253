#!/bin/sh
# The crash matrix: kill -9 of every program at every phase of a deploy, under a steady load of the gateway. A rollout
# is held before the phase (PLOYZ_FAILPOINT of leased(8)), the victim dies, the rollout continues without it. Each case is one
# result: traffic went on, nothing of the committed head was touched, the next deploy began within 3 s, nothing of a
# dead deploy is left, and there is one head.
#
#   ONLY='VICTIM/PHASE …'   these
#   FAULTS=whole            every victim at every phase; otherwise a diagonal that has each of both at least once
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

VICTIMS='leased agentd placerd routed dnsd meshd gateway gateway-worker dockerd bus store ployzctl'
# `starting`: while the candidates start.
PHASES='lease head preview open list sweep plan lock claim prepare run start starting manifest query commit confirm clean unlock release'
ABORT_PHASES='abort resume close'
BACK_CS=300  # what died is back, and the next deploy has begun
SERVE_CS=100 # from the gateway's death to the next answer

export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"

centiseconds() {
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}"
}

# soon CENTISECONDS COMMAND…: `within`, for what is measured.
soon() {
	soon_deadline=$(($(centiseconds) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(centiseconds)" -lt "$soon_deadline" ] || return 1
		sleep 0.02
	done
}

seconds() {
	printf '%d.%02d s' $(($1 / 100)) $(($1 % 100))
}

# manifest NAME: web answers NAME. $pre_deploy, $start_after and $worker add to it; $worker is the code that an own
# service ends with, or `runs`.
manifest() {
	cat <<-END
	namespace: tough
	services:
	  web:
	    image: $image:v1
	    replicas: 2
	    command: [/bin/testsvc, --name, $1${start_after:+, --start-after, \"$start_after\"}]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [tough.test]}}]
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 1s
	END
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

# --- what the cluster is like

head_field() {
	printf '%s\n' "$head" | sed -n "s/.*\"$1\":\"\{0,1\}\([a-z0-9]*\).*/\1/p"
}

# The bus may be on its way back.
show_head() {
	ctl --json ns show tough >"$work/head" 2>&1
}

# read_head: $head, $revision and $head_deploy.
read_head() {
	within 10 show_head || wrong "no head can be read: $(cat "$work/head")"
	head=$(cat "$work/head")
	revision=$(printf '%s\n' "$head" | grep -o '"revision":[0-9]*' | head -n 1 | cut -d : -f 2)
	head_deploy=$(printf '%s\n' "$head" | sed 's/.*"revision":[0-9]*,//' | grep -o '"deploy":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
}

of_deploy() {
	engine_containers "ployz.machine=$machine" "ployz.deploy=$1" ployz.service=web
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
	*) pid_of "$1" ;;
	esac
}

serves() {
	[ "$(curl -s -o /dev/null -w '%{http_code}' --max-time 1 -H 'Host: tough.test' "http://$gateway/")" = 200 ]
}

# kill_victim NAME: sets $died to when.
kill_victim() {
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

problems=
wrong() {
	problems="$problems
$*"
}

# The rollout of the next deploy has begun; one that could not even be planned is asked for again.
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

# next_deploy: begins within BACK_CS of $since, succeeds, and is in effect.
next_deploy() {
	number=$((number + 1))
	pre_deploy='' start_after='' worker=${worker:+runs}
	manifest "w$number" >"$work/next.yaml"
	: >"$work/next.refused"
	start_next
	if soon 3000 next_begun; then
		began=$(($(centiseconds) - since))
		said="$said; next deploy after $(seconds $began)"
		[ "$began" -le $BACK_CS ] || wrong "the next deploy began after $(seconds $began) only; before that:
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
	id=$(sed -n 's/^deploy \([a-z0-9]*\)$/\1/p' "$work/next.out" | head -n 1)
	expected=$((revision + 1))
	read_head
	[ "$revision" = "$expected" ] || wrong "revision $revision, expected $expected"
	[ "$head_deploy" = "$id" ] || wrong "the head is of deploy $head_deploy, not $id"
	case $head in
	*'"open":'*) wrong "a deploy is still open: $head" ;;
	esac
	if [ "$(containers tough web)" != "$(of_deploy "$id")" ] || [ "$(lines "$(containers tough web)")" -ne 2 ]; then
		wrong "containers of web: $(containers tough web | tr '\n' ' '); of the last deploy: $(of_deploy "$id" | tr '\n' ' ')"
	fi
	# shellcheck disable=SC2046 # a list of containers
	case $worker:$(life $(containers tough worker)) in
	: | runs:*' true '*)
		[ "$(lines "$(containers tough worker)")" -le 1 ] || wrong "containers of worker: $(containers tough worker)"
		;;
	*) wrong 'worker does not run' ;;
	esac
}

held() {
	grep -q "waiting before phase $1\$" "$work/mid.out"
}

a_candidate_starts() {
	ctl --json ps 2>/dev/null | grep -q '"state":"starting"'
}

# The deploy in which something dies, as far as the phase.
deploy_until() {
	pre_deploy='' start_after=''
	case $1 in
	run) pre_deploy=yes ;;
	starting) start_after=1500 ;;
	abort | resume | close) worker=3 ;;
	esac
	number=$((number + 1))
	manifest "w$number" >"$work/mid.yaml"
	# What the last one said is none of this one's.
	: >"$work/mid.out"
	[ "$1" = starting ] || : >"$PLOYZ_FAILPOINT/tough.$1"
	ctl deploy -f "$work/mid.yaml" >"$work/mid.out" 2>&1 </dev/null &
	hand=$!
	end_later $hand
	if [ "$1" = starting ]; then
		soon 2000 a_candidate_starts || wrong "no candidate starts:
$(cat "$work/mid.out")"
	else
		soon 2000 held "$1" || wrong "the rollout does not reach $1:
$(cat "$work/mid.out")"
	fi
	mid=$(sed -n 's/^deploy \([a-z0-9]*\)$/\1/p' "$work/mid.out" | head -n 1)
}

# Something to sweep: a deploy that died when its candidates were ready.
leave_something() {
	deploy_until commit
	kill_victim leased
	rm -f "$PLOYZ_FAILPOINT/tough.commit"
	wait "$hand"
	within 10 ctl lease ls || wrong 'leased does not come back'
}

# How the deploy ended in which something died: $outcome.
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

# Containers that it was just starting may be out of its reach for ever; they, and their addresses, are not ours.
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
	problems='' said='' since=
	read_head
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
	kill_victim "$1"
	rm -f "$PLOYZ_FAILPOINT/tough.$2"
	mid_ends "$1"
	since=$(centiseconds)
	[ "$outcome" != dead ] || since=$died
	read_head
	if [ "$head_deploy" = "$before" ]; then
		[ "$(life $committed)" = "$lived" ] || wrong "containers of the committed head were touched:
$lived
$(life $committed)"
		answers tough.test / "$serving" || wrong "$serving does not serve any more"
		case $outcome in
		0 | 7) wrong "it said done ($outcome) and was not committed" ;;
		esac
	else
		[ "$head_deploy" = "$mid" ] || wrong "the head is of deploy $head_deploy"
		[ "$(lines "$(of_deploy "$mid")")" -ge 2 ] || wrong 'containers of the commit are gone'
	fi
	next_deploy
	settled
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
	name="$1 killed at $2: that deploy $(outcome_words)$said"
	if [ -z "$problems" ]; then
		pass "$name"
	else
		fail "$name" "$problems
--- the deploy in which $1 died
$(cat "$work/mid.out")
--- dev said
$(tail -n 40 "$work/dev.log")"
	fi
}

outcome_words() {
	case $outcome in
	dead) echo 'died' ;;
	0) echo 'was done' ;;
	6) echo 'failed' ;;
	7) echo 'left cleaning' ;;
	*) echo "ended with $outcome" ;;
	esac
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

# Victims and phases beside each other until both have had their turn.
diagonal() {
	n=0
	for phase in $PHASES; do
		n=$((n + 1))
		victim=$(echo "$VICTIMS" | cut -d ' ' -f $(((n - 1) % $(echo "$VICTIMS" | wc -w) + 1)))
		case_of "$victim" "$phase"
	done
}

# Beside web a service that is stopped before its next instance starts, for what is done when a deploy fails.
with_worker() {
	worker=runs since=$(centiseconds)
	next_deploy
	read_head
}

engine_start_kept || skip_all "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
cluster_start
machine=$(cat "$cluster_dir/etc/credentials/machine")
number=0 revision=0 worker='' said='' since=$(centiseconds)
next_deploy
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
else
	diagonal
	with_worker
	case_of leased abort
	case_of agentd resume
	case_of bus close
fi
# What died was killed by this test, and whoever came back found everything as it was.
is "$(grep -E 'was killed by SIG|ended with code' "$work/dev.log" | grep -Ev 'SIGKILL|^dev +gateway ended with code 137')" '' \
	'nothing else died'
is "$(grep -E 'error:|has lost' "$work/dev.log")" '' 'and nothing is amiss'
done_testing
