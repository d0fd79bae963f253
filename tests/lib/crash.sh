# What the fault tests of a whole cluster share: times in hundredths of a second, the problems of a case, and what the
# log says about a namespace. Sourced after fixture.sh, engine.sh and cluster.sh.

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

# wrong TEXT…: a problem of the current case; case_result NAME reports the case and its problems, with the files given.
problems=
wrong() {
	problems="$problems
$*"
}

case_result() {
	case_name=$1
	shift
	if [ -z "$problems" ]; then
		pass "$case_name"
	else
		fail "$case_name" "$problems
$(for case_file; do printf -- '--- %s\n' "${case_file##*/}"; tail -n 40 "$case_file"; done)"
	fi
	problems=
}

# show_head NAMESPACE: its head, from the store, in $work/head-NAMESPACE. The store may be electing a leader; the local
# mirrors, which ployzctl reads meanwhile, may be behind.
show_head() {
	ctl --json ns show "$1" >"$work/head-$1" 2>&1 && ! grep -q 'local mirror' "$work/head-$1"
}

# read_head NAMESPACE: sets $head, $revision and $head_deploy.
read_head() {
	within 20 show_head "$1" || wrong "cannot read the head of $1: $(cat "$work/head-$1")"
	head=$(cat "$work/head-$1")
	revision=$(printf '%s\n' "$head" | grep -o '"revision":[0-9]*' | head -n 1 | cut -d : -f 2)
	head_deploy=$(printf '%s\n' "$head" | sed 's/.*"revision":[0-9]*,//' | grep -o '"deploy":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
}

# deploy_id FILE: the id of the deploy whose output is in FILE.
deploy_id() {
	sed -n 's/^deploy \([a-z0-9]*\)$/\1/p' "$1" | head -n 1
}

# held PHASE FILE: the rollout whose output is in FILE waits before that phase.
held() {
	grep -q "waiting before phase $1\$" "$2"
}

# of_deploy NAMESPACE SERVICE DEPLOY: containers.
of_deploy() {
	engine_containers "ployz.machine=$(cat "$cluster_dir/etc/credentials/machine")" "ployz.namespace=$1" \
		"ployz.service=$2" "ployz.deploy=$3"
}

# all_run CONTAINER…: each runs.
all_run() {
	[ $# -gt 0 ] && [ "$(life "$@" | grep -c ' true ')" -eq $# ]
}

# outcome_agrees DEPLOY COMMITTED: what attach reports about it is what the log holds; COMMITTED is yes or no.
outcome_agrees() {
	[ -n "$1" ] || return 0
	ctl deploy attach "$1" >"$work/attach.out" 2>&1
	attached=$?
	case $2:$attached in
	yes:0 | yes:7 | no:4 | no:5 | no:6 | no:8) ;;
	# It ended before it had a record.
	no:1) grep -q 'NOT_FOUND\|cannot attach' "$work/attach.out" || wrong "attach: $(cat "$work/attach.out")" ;;
	*) wrong "committed: $2, and attach ends with $attached:
$(cat "$work/attach.out")" ;;
	esac
}

outcome_text() {
	case $1 in
	dead) echo 'died' ;;
	0) echo 'was done' ;;
	6) echo 'failed' ;;
	7) echo 'left its clean-up pending' ;;
	8) echo 'failed without a store' ;;
	9) echo 'ended as unknown' ;;
	*) echo "ended with $1" ;;
	esac
}

# ctl_start FILE ARGUMENT…: ployzctl in the background; its output, and `exit CODE` at its end, in FILE; its pid in FILE.pid.
ctl_start() {
	ctl_file=$1
	shift
	: >"$ctl_file"
	sh -c 'pid=$1; shift; "$@" & echo $! >"$pid"; wait $!; echo "exit $?"' sh "$ctl_file.pid" \
		ployzctl --dir "$cluster_dir" "$@" >>"$ctl_file" 2>&1 </dev/null &
	end_later $!
}

ctl_ended() {
	grep -q '^exit ' "$1"
}

ctl_code() {
	sed -n 's/^exit //p' "$1"
}
