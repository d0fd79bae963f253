# The servers of one machine: a store (or three that are a cluster) and the local bus that is its leaf, as bus.md
# has it, without users. Sourced after tests/lib/fixture.sh. bus_start sets $bus_url and $bus_machine, and the pids
# $bus_pid and $store_pid (of three: $store_pid_1 to $store_pid_3).

bus_machine=m1

# store_configure NUMBER NAME: the configuration of one store; with $routes it is part of a cluster.
store_configure() {
	mkdir -p "$work/store$1"
	cat >"$work/store$1.conf" <<-END
	server_name: $2
	listen: 127.0.0.1:$(eval "echo \$store_port$1")
	leafnodes { listen: 127.0.0.1:$(eval "echo \$leaf_port$1") }
	jetstream { domain: ployz, store_dir: "$work/store$1", sync_interval: always }
	max_payload: 8MB
	ping_interval: 2s
	ping_max: 2
	END
	[ -z "${routes-}" ] || cat >>"$work/store$1.conf" <<-END
	cluster { name: ployz, listen: 127.0.0.1:$(eval "echo \$route_port$1"), routes: [ $routes ] }
	END
}

# local_configure URLS: the local bus, a leaf of the stores at URLS.
local_configure() {
	mkdir -p "$work/bus"
	cat >"$work/bus.conf" <<-END
	server_name: $bus_machine
	listen: 127.0.0.1:$bus_port
	leafnodes { remotes [ { urls [ $1 ] } ], reconnect: 1 }
	jetstream { domain: $bus_machine, store_dir: "$work/bus" }
	max_payload: 8MB
	END
}

# store_start [NUMBER]
store_start() {
	start "$work/store${1-}.log" "${NATS_SERVER:-nats-server}" -c "$work/store${1-}.conf"
	eval "store_pid${1:+_$1}=$started"
	within 10 listens "127.0.0.1:$(eval "echo \$leaf_port${1-}")"
}

local_start() {
	start "$work/bus.log" "${NATS_SERVER:-nats-server}" -c "$work/bus.conf"
	bus_pid=$started
	within 10 listens "127.0.0.1:$bus_port"
}

# Being linked, the bus learns only then who answers for the store.
store_linked() {
	"$BUILD/tool/bus" "$bus_url" request '$JS.ployz.API.INFO' '' >"$work/out" 2>&1
}

bus_start() {
	store_port=$(free_port)
	leaf_port=$(free_port)
	bus_port=$(free_port)
	bus_url=nats://127.0.0.1:$bus_port
	store_configure '' "store-$bus_machine"
	local_configure "\"nats-leaf://127.0.0.1:$leaf_port\""
	store_start && local_start && within 10 store_linked
}

# bus_start_three: three stores that are a cluster; the local bus is a leaf of the first.
bus_start_three() {
	routes=
	bus_port=$(free_port)
	bus_url=nats://127.0.0.1:$bus_port
	for number in 1 2 3; do
		eval "store_port$number=$(free_port) leaf_port$number=$(free_port) route_port$number=$(free_port)"
		routes="$routes${routes:+, }\"nats-route://127.0.0.1:$(eval "echo \$route_port$number")\""
	done
	for number in 1 2 3; do
		store_configure "$number" "store-m$number"
	done
	local_configure "\"nats-leaf://127.0.0.1:$leaf_port1\""
	store_start 1 && store_start 2 && store_start 3 && local_start && within 30 store_linked
}

# streams_make [REPLICAS [STORE-ID [GENERATION]]]: all streams and buckets of lib/streams.h, in the store.
streams_make() {
	"$BUILD/tool/bus" "$bus_url" streams "$@" >"$work/out" 2>&1
}

# The local mirrors of machine $bus_machine.
mirrors_make() {
	"$BUILD/tool/bus" "$bus_url" mirrors "$bus_machine" >"$work/out" 2>&1
}
