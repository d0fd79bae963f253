#!/bin/sh
# ployzctl dev: what it starts, restarts and ends; what it refuses; several at the same time; and ployzctl init.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

engine_start || skip_all "$engine_reason"
names='store bus gateway meshd agentd placerd leased dnsd routed'

said() {
	grep -Eq -e "$1" "$work/dev.log"
}
pids() {
	for name in $names; do
		pid_of "$name"
	done
}
none_alive() {
	for pid in "$@"; do
		gone "$pid" || return 1
	done
}
network_is_there() {
	engine_api GET "/networks/$bridge" >/dev/null 2>&1
}

cluster_start
like "$(cat "$work/dev.log")" '^ready in ([0-9]+ ms|[012](\.[0-9])? s)' 'ready in less than three seconds'
like "$(cat "$work/dev.log")" "gateway +http://$gateway" 'prints where the gateway listens'
like "$(cat "$work/dev.log")" "resolver +$resolver" 'and the resolver'
like "$(cat "$work/dev.log")" "ployzctl --dir $cluster_dir deploy -f " 'and how to deploy'
for name in $names; do
	ok "$name runs" alive "$(pid_of "$name")"
done
is "$(stat -c %a "$cluster_dir/run/operator.conf")" 600 'the operator has credentials'
like "$(cat "$cluster_dir/run/operator.conf")" "^bus = nats://127.0.0.1:$bus_port" 'that name the bus'
ok 'the network comes' within 20 network_is_there

# The NATS Services protocol, as standard tools speak it.
operator() {
	sed -n "s/^$1 = //p" "$cluster_dir/run/operator.conf"
}
for name in meshd agentd placerd leased dnsd routed; do
	for question in PING INFO STATS; do
		run bus "nats://127.0.0.1:$bus_port" "$(operator user):$(operator password)" request "\$SRV.$question.$name" ''
		like "$out" "\"type\":\"io.nats.micro.v1.$(echo $question | tr A-Z a-z)_response\",\"name\":\"$name\"" \
			"$name answers \$SRV.$question"
	done
done

# A second one in the same directory, and one whose ports are taken.
first_pid=$dev_pid
cp "$work/dev.log" "$work/first.log"
run ployzctl dev --dir "$cluster_dir"
exits 1 'a second one in the same directory is refused'
like "$err" "$cluster_dir: another .* pid $first_pid runs there; end it" 'naming the pid and the directory'
run ployzctl dev --dir "$work/other" --bus-port "$bus_port"
exits 1 'a port of the bus that is in use'
like "$err" "127.0.0.1:$bus_port.*in use" 'is named'
like "$err" '[-]-bus-port' 'with the option that changes it'
run ployzctl dev --dir "$work/other" --bus-port "$(free_port)" --gateway-http nowhere
exits 1 'an address that is none'
run ployzctl dev --sideways
exits 2 'an unknown option'
run ployzctl dev now
exits 2 'an argument too many'

# Killed programs are restarted.
new_one() {
	[ -n "$(pid_of "$1")" ] && [ "$(pid_of "$1")" != "$2" ]
}
for name in $names; do
	old=$(pid_of "$name")
	kill -KILL "$old"
	ok "$name is started again" within 10 new_one "$name" "$old"
done
again() {
	[ "$(grep -c ' ready again$' "$work/dev.log")" -ge 9 ]
}
ok 'all are ready again' within 30 again
ok 'and it is printed how they ended' said 'dnsd was killed by SIGKILL; starting it again$'

# A second cluster at the same time.
first_dir=$cluster_dir first_bridge=$bridge first_pids=$(pids)
cluster_dir=$work/a-directory-with-a-long-name/and-another-one-below-it-so-that/no-unix-socket-would-fit/dev
cluster_choose
cluster_number=$((cluster_number == 219 ? 20 : cluster_number + 1))
bridge=plt$cluster_number
cluster_run --keep
ok 'a second cluster' within 60 cluster_is_up
ok 'is ready' said '^ready'
ok 'its sockets are elsewhere' test -L "$cluster_dir/run"
at_end "rm -rf '$(readlink "$cluster_dir/run")'"
# shellcheck disable=SC2046 # a list of pids
is "$(echo $first_pids)" "$(cluster_dir=$first_dir; echo $(pids))" 'and the first was not touched'

# The end: with --keep the containers stay, without it they go.
container() {
	engine_api POST '/containers/create' -H 'Content-Type: application/json' \
		-d "{\"Image\":\"$image:v1\",\"Cmd\":[\"/bin/sleep\",\"60\"],\"Labels\":{\"ployz.machine\":\"$1\"}}" |
		sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p'
}
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
at_end "engine_image_rm $image:v1"
machine=$(cat "$cluster_dir/etc/credentials/machine")
kept=$(container "$machine")
at_end "engine_api DELETE '/containers/$kept?force=1'"
within 20 network_is_there
at_end "engine_api DELETE /networks/$bridge"
running=$(pids)
end_pid "$dev_pid" 30
# shellcheck disable=SC2086 # a list of pids
ok '--keep: nothing of it runs' none_alive $running
ok 'the container stays' engine_api GET "/containers/$kept/json"
ok 'and the network' network_is_there

cluster_dir=$first_dir bridge=$first_bridge dev_pid=$first_pid
machine=$(cat "$cluster_dir/etc/credentials/machine")
mine=$(container "$machine")
running=$(pids)
end_pid "$dev_pid" 30
# shellcheck disable=SC2086 # a list of pids
ok 'without it: nothing runs' none_alive $running
is "$(engine_containers "ployz.machine=$machine")" '' 'its containers are gone'
isnt "$mine" '' 'that were there'
ok 'so is the network' sh -c '! curl -sf --unix-socket "${DOCKER_HOST#unix://}" "http://engine/networks/$1"' sh "$bridge"
ok 'another machine kept its own' engine_api GET "/containers/$kept/json"
ok 'no trace of what ran' test ! -e "$cluster_dir/run"

# In the same directory again: the same machine and the same store. Killed, it ends all with it.
cluster_choose
cluster_run
ok 'in the same directory again' within 60 cluster_is_up
is "$(cat "$cluster_dir/etc/credentials/machine")" "$machine" 'it is the same machine'
unlike "$(cat "$work/dev.log")" 'created PLOYZ_|claimed subnet' 'no stream is created, no subnet is claimed'
running=$(pids)
kill -KILL "$dev_pid"
# shellcheck disable=SC2086 # a list of pids
ok 'killed: the others end by themselves' within 20 none_alive $running
engine_api DELETE "/networks/$bridge" >/dev/null 2>&1

# A store that is gone is reported, and nothing is created in its place.
rm -rf "$cluster_dir/state/store"
cluster_choose
cluster_run
missing() {
	said 'PLOYZ_INTENT does not exist, this machine has seen it at entry'
}
ok 'a store that is gone is reported' within 60 missing
unlike "$(cat "$work/dev.log")" 'created PLOYZ_' 'no stream is created'
ok 'the operator can reach the cluster' within 60 cluster_is_up
run ctl status
isnt "$code" 0 'status does not say that all is well'
run ctl store accept --yes --why 'test'
exits 0 'store accept'
status_is_good() {
	ctl status
}
ok 'then it is used again' within 60 status_is_good
end_pid "$dev_pid" 30

# init: prepares a machine once.
configuration=$work/init/ployz.conf
mkdir -p "$work/init"
cat >"$configuration" <<-END
	bus = nats://127.0.0.1:$(free_port)
	credentials = $work/init/credentials
	run = $work/init/run
	state = $work/init/state
	bus-data = $work/init/bus
	store-data = $work/init/store
END
run ployzctl init 'No Name' --config "$configuration"
exits 2 'init with a name that is not valid'
run ployzctl init
exits 2 'init without a name'
run ployzctl init blue --config "$configuration"
exits 0 'init'
like "$out" 'systemctl enable --now ployz\.target' 'prints the next step'
ok 'it has made the identity' test -s "$work/init/credentials/machine"
ok 'and the configuration of the servers' test -s "$work/init/run/store.conf"
id=$(cat "$work/init/credentials/machine")
run ployzctl init blue --config "$configuration"
exits 0 'init again with the same name'
is "$(cat "$work/init/credentials/machine")" "$id" 'changes nothing'
# What a machine remembers once its streams exist.
cp "$cluster_dir/state/meshd/store.json" "$work/init/state/"
run ployzctl init green --config "$configuration"
exits 1 'init of another cluster on a machine that has one'
like "$err" 'cannot initialise cluster green: this machine belongs to cluster dev' 'names the cluster'

# Interrupted twice.
cluster_choose
cluster_run
within 60 cluster_is_up
running=$(pids)
kill -STOP "$(pid_of agentd)"
kill -TERM "$dev_pid"
ok 'ending' within 5 said 'ending'
kill -TERM "$dev_pid"
# shellcheck disable=SC2086 # a list of pids
ok 'two signals: at once' within 3 none_alive "$dev_pid" $running
engine_api DELETE "/networks/$bridge" >/dev/null 2>&1
done_testing
