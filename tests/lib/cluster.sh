# The whole cluster of one machine, as `ployzctl dev` starts it, under the test's own directory, ports and
# subnet; and what a client sees of it. Sourced after fixture.sh and engine.sh.

cluster_dir=$work/dev

cluster_choose() {
	gateway=127.0.0.1:$(free_port)
	resolver=127.0.0.1:$(free_port)
	bus_port=$(free_port)
	# Beside other clusters of this machine: a bridge and a /24 that nobody has.
	cluster_number=$(subnet_number)
	bridge=plt$cluster_number
	at_end "ip link del $bridge 2>/dev/null"
	engine_let "$bridge"
}

# cluster_run [OPTIONS…]: `ployzctl dev` in the background, its words in $work/dev.log, its pid in $dev_pid.
cluster_run() {
	: >"$work/dev.log" # what an earlier one has said is not this one's
	start "$work/dev.log" ployzctl dev --dir "$cluster_dir" --engine "$DOCKER_HOST" --bridge "$bridge" \
		--subnet "10.101.$cluster_number.0/24" --network "$bridge" --bus-port "$bus_port" \
		--gateway-http "$gateway" --dns-listen "$resolver" "$@"
	dev_pid=$started
}

cluster_is_up() {
	gone "$dev_pid" || grep -q '^ready' "$work/dev.log"
}

# cluster_start [OPTIONS…]: up and ready, or the test ends with what dev said.
cluster_start() {
	cluster_choose
	cluster_run "$@"
	within 60 cluster_is_up
	if gone "$dev_pid" || ! grep -q '^ready' "$work/dev.log"; then
		diag "$(tail -n 30 "$work/dev.log")"
		bail 'ployzctl dev did not become ready'
	fi
}

ctl() {
	ployzctl --dir "$cluster_dir" "$@"
}

# pid_of NAME: of a process that dev started: a daemon's name, bus, store or gateway.
pid_of() {
	cat "$cluster_dir/run/$1.pid" 2>/dev/null
}

# get HOST PATH: through the gateway; the body, and failure when the answer is no 2xx.
get() {
	curl -s -f --max-time 15 -H "Host: $1" "http://$gateway$2"
}

# answers HOST PATH TEXT: the body's first line is TEXT.
answers() {
	[ "$(get "$1" "$2" | head -n 1)" = "$3" ]
}

get_status() {
	curl -s -o /dev/null -w '%{http_code}' --max-time 15 -H "Host: $1" "http://$gateway$2"
}

# ask NAME TYPE [OPTIONS…]: what the resolver answers, short; ask_status: its status.
ask() {
	dig +short +tries=1 +time=3 "@${resolver%:*}" -p "${resolver#*:}" "$@" | sort
}

ask_status() {
	dig +tries=1 +time=3 "@${resolver%:*}" -p "${resolver#*:}" "$@" | sed -n 's/.*status: \([A-Z]*\).*/\1/p'
}

# restarted NAME PID: another process than PID is in its place.
restarted() {
	new=$(pid_of "$1") && [ -n "$new" ] && [ "$new" != "$2" ] && alive "$new"
}

candidates_start() {
	ctl --json ps 2>/dev/null | grep -Eq '"state":"(created|starting)"'
}

# both_have_names NAMESPACE: the resolver answers for two replicas of its service web.
both_have_names() {
	[ "$(lines "$(ask "web.$1.ployz.internal" A)")" -eq 2 ]
}

# The link between the two servers comes back by itself: a plan of $work/next.yaml can be made.
store_answers() {
	ctl plan -f "$work/next.yaml"
	[ $? -le 1 ]
}

# containers NAMESPACE [SERVICE]: ids of this cluster's containers; the engine may have others.
containers() {
	engine_containers "ployz.machine=$(cat "$cluster_dir/etc/credentials/machine")" "ployz.namespace=$1" \
		${2:+"ployz.service=$2"}
}

# life CONTAINER…: whether it runs, and since when: another line than before, and it was touched.
life() {
	for container; do
		engine_api GET "/containers/$container/json" |
			sed -n 's/.*"Running":\([a-z]*\).*"StartedAt":"\([^"]*\)".*/\1 \2/p' | sed "s/^/$container /"
	done
}

lease_is_held() {
	ctl --json lease show "$1" | grep -q '"state":"held"'
}

lines() {
	printf '%s' "$1" | grep -c '' || true
}

# load_start HOST [PATH]: a steady load of the gateway, kept and new connections; load_end leaves its
# report in $loaded.
load_start() {
	load -k 3 -n 3 -r 40 -H "$1" "$gateway" "${2:-/}" >"$work/load.out" 2>"$work/load.err" &
	load_pid=$!
	end_later $load_pid
}

load_end() {
	kill -TERM "$load_pid"
	wait "$load_pid"
	loaded=$(cat "$work/load.out")
}

# load_was_clean NAME: every request got a 2xx, and there were some.
load_was_clean() {
	case $loaded in
	'requests 0 '*) fail "$1" 'the load asked nothing' ;;
	*' status 0 errors 0 '*) pass "$1" ;;
	*) fail "$1" "$loaded
$(cat "$work/load.err")" ;;
	esac
	diag "$loaded"
}

# What a test in sh of the whole cluster begins with: an engine, two images, a cluster.
cluster_with_images() {
	engine_start || skip_all "$engine_reason"
	image=plt-$$
	for version in v1 v2; do
		engine_image "$image:$version" || bail 'the engine takes no image'
		at_end "engine_image_rm $image:$version"
	done
	cluster_start "$@"
}
