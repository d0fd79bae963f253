# The two servers of one machine: a store and the local bus that is its leaf, as bus.md has it, without
# users. Sourced after tests/lib/fixture.sh. bus_start sets $bus_url and $bus_machine, and the pids
# $bus_pid and $store_pid.

bus_machine=m1

bus_configure() {
	mkdir -p "$work/bus" "$work/store"
	cat >"$work/store.conf" <<-END
	server_name: store-$bus_machine
	listen: 127.0.0.1:$store_port
	leafnodes { listen: 127.0.0.1:$leaf_port }
	jetstream { domain: ployz, store_dir: "$work/store", sync_interval: always }
	max_payload: 8MB
	END
	cat >"$work/bus.conf" <<-END
	server_name: $bus_machine
	listen: 127.0.0.1:$bus_port
	leafnodes { remotes [ { urls [ "nats-leaf://127.0.0.1:$leaf_port" ] } ], reconnect: 1 }
	jetstream { domain: $bus_machine, store_dir: "$work/bus" }
	max_payload: 8MB
	END
}

store_start() {
	start "$work/store.log" nats-server -c "$work/store.conf"
	store_pid=$started
	within 10 listens "127.0.0.1:$leaf_port"
}

local_start() {
	start "$work/bus.log" nats-server -c "$work/bus.conf"
	bus_pid=$started
	within 10 listens "127.0.0.1:$bus_port"
}

# Being linked, the bus learns only then whom to ask for what is the store's.
store_linked() {
	"$BUILD/tool/bus" "$bus_url" request '$JS.ployz.API.INFO' '' >"$work/out" 2>&1
}

bus_start() {
	store_port=$(free_port)
	leaf_port=$(free_port)
	bus_port=$(free_port)
	bus_url=nats://127.0.0.1:$bus_port
	bus_configure
	store_start && local_start && within 10 store_linked
}

# streams_make [REPLICAS [STORE-ID [GENERATION]]]: all streams and buckets of lib/streams.h, in the store.
streams_make() {
	"$BUILD/tool/bus" "$bus_url" streams "$@" >"$work/out" 2>&1
}

# The local mirrors of machine $bus_machine.
mirrors_make() {
	"$BUILD/tool/bus" "$bus_url" mirrors "$bus_machine" >"$work/out" 2>&1
}
