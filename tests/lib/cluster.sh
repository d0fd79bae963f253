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

# web_manifest NAMESPACE REPLICAS NAME [ARGUMENT…]: a manifest whose service `web`, of the image $image:v1, answers NAME
# for the host NAMESPACE.test; ARGUMENTs are of testsvc. Further lines of the service, or services, may follow it.
web_manifest() {
	web_ns=$1 web_replicas=$2 web_name=$3
	shift 3
	cat <<-END
	namespace: $web_ns
	services:
	  web:
	    image: $image:v1
	    replicas: $web_replicas
	    command: [/bin/testsvc, --name, $web_name$(for arg; do printf ', "%s"' "$arg"; done)]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [$web_ns.test]}}]
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 1s
	END
}

# --- programs that a test keeps away: dev starts them through wrappers, which wait as long as the test wants

# gates_make: before cluster_start.
gates_make() {
	gates=$work/gates
	mkdir -p "$gates" "$work/gated"
	# dev starts the daemons that are in its own directory.
	cp "$BUILD/bin/ployzctl" "$work/gated/"
	for gated in meshd leased placerd routed dnsd agentd; do
		gate_make "$gated" "$gated" "$BUILD/bin/$gated"
	done
	gate_make nats-server '$(basename "${2-none}" .conf)' "$(command -v nats-server)"
	PATH=$work/gated:$PATH
}

# gate_make PROGRAM NAME PATH: the wrapper of PROGRAM, which waits while $gates/NAME exists.
gate_make() {
	cat >"$work/gated/$1" <<-END
	#!/bin/sh
	[ ! -x "$work/gated/before-$1" ] || "$work/gated/before-$1" "\$@"
	while [ -e "$gates/$2" ]; do
		sleep 0.05
	done
	exec "$3" "\$@"
	END
	chmod 755 "$work/gated/$1"
}

gate_of() {
	case $1 in
	bus) echo nats ;;
	*) echo "$1" ;;
	esac
}

# keep_away NAME…: kills programs that dev (or store_run) starts; none is there again before let_back NAME….
keep_away() {
	for away; do
		: >"$gates/$(gate_of "$away")"
		away_pid=$(pid_of "$away")
		[ -z "$away_pid" ] || kill -KILL "$away_pid"
		within 5 gone "$away_pid"
	done
}

let_back() {
	for back; do
		rm -f "$gates/$(gate_of "$back")"
	done
}

# --- a store of three replicas: dev's own nats-server is the first, store_run runs the others

# three_choose: before cluster_start, which needs --leaf-port $leaf_port_1; after gates_make.
three_choose() {
	for number in 1 2 3; do
		eval "leaf_port_$number=$(free_port) route_port_$number=$(free_port)"
	done
	cat >"$work/gated/before-nats-server" <<-END
	#!/bin/sh
	exec sh tests/lib/three-stores "\${2-}" "$cluster_dir" $leaf_port_1 $leaf_port_2 $leaf_port_3 $route_port_1 $route_port_2 $route_port_3
	END
	chmod 755 "$work/gated/before-nats-server"
	store_run 2
	store_run 3
}

# store_run NUMBER: runs this store and restarts it whenever it has ended; the pid of the loop in $store_run_NUMBER.
store_run() {
	start "$work/store$1.log" sh -c '
		trap "kill -TERM \$server; wait; exit" TERM
		while :; do
			if [ -e "$1.conf" ] && [ ! -e "$2" ]; then
				nats-server -c "$1.conf" &
				server=$!
				echo $server >"$1.pid"
				wait $server
			else
				sleep 0.05
			fi
		done' sh "$cluster_dir/run/store$1" "$gates/store$1"
	eval "store_run_$1=$started"
}

# as USER COMMAND…: one request of tests/tool/bus as this user of the local bus.
as() {
	as_user=$1
	shift
	"$BUILD/tool/bus" "nats://127.0.0.1:$bus_port" \
		"$as_user:$(sed -n 's/^password = //p' "$cluster_dir/etc/credentials/$as_user.conf")" "$@"
}

stream_info() { # stream_info STREAM
	as meshd request "\$JS.ployz.API.STREAM.INFO.$1" ''
}

# leader_of STREAM: the name of the store that leads it, as pid_of knows it.
leader_of() {
	case $(stream_info "$1" | sed -n 's/.*"leader":"store-\([a-z0-9]*\)".*/\1/p') in
	'') return 1 ;;
	2) echo store2 ;;
	3) echo store3 ;;
	*) echo store ;;
	esac
}

STREAMS='PLOYZ_INTENT PLOYZ_FACTS PLOYZ_MANIFESTS PLOYZ_STATUS KV_PLOYZ_LEASES'

# Every stream has three replicas, and each is up to date.
replicas_current() {
	for stream in $STREAMS; do
		[ "$(stream_info "$stream" | grep -o '"current":true' | wc -l)" -eq 2 ] || return 1
	done
}

three_replicate() {
	as meshd streams 3 "$(sed -n 's/.*"store":"\([a-z0-9]*\)".*/\1/p' "$cluster_dir/state/meshd/store.json")" \
		"$(sed -n 's/.*"generation":\([0-9]*\).*/\1/p' "$cluster_dir/state/meshd/store.json")"
}

# cluster_start_three: cluster_start with a store of three replicas.
cluster_start_three() {
	three_choose
	cluster_start --leaf-port "$leaf_port_1" "$@"
	within 20 three_replicate || bail "the streams cannot be replicated: $(three_replicate 2>&1)"
	within 60 replicas_current || bail "the replicas do not follow: $(stream_info PLOYZ_INTENT)"
}
