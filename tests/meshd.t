#!/bin/sh
# meshd against real nats-servers: what it prepares, what it founds, who may do what, and what it says when
# the store is gone.
. tests/lib/tap.sh
. tests/lib/fixture.sh

bus_port=$(free_port)
leaf_port=$(free_port)
url=nats://127.0.0.1:$bus_port
credentials=$work/etc/credentials
cat >"$work/ployz.conf" <<-END
	bus = $url
	leaf-listen = 127.0.0.1:$leaf_port
	credentials = $credentials
	run = $work/run
	bus-data = $work/bus
	store-data = $work/store
	name = Web_01.example.org
END

prepare() {
	run meshd --config "$work/ployz.conf" --prepare "$@"
}

# Without a server that suits, nothing is prepared.
old=$work/old
mkdir "$old"
printf '#!/bin/sh\necho "nats-server: v2.9.10"\n' >"$old/nats-server"
printf '#!/bin/sh\nexit 1\n' >"$old/broken"
printf '#!/bin/sh\necho hello\n' >"$old/other"
chmod +x "$old"/*
prepare --nats-server "$old/nats-server"
exits 1 'a nats-server that is too old'
like "$err" '2\.9\.10.*2\.10 or newer' 'says its version and which it takes'
is "$(printf '%s\n' "$err" | wc -l)" 1 'in one sentence'
prepare --nats-server "$work/nowhere"
exits 1 'no nats-server'
like "$err" 'not installed.*install' 'says so, with the cure'
prepare --nats-server "$old/broken"
exits 1 'one that does not work'
prepare --nats-server "$old/other"
exits 1 'one that is something else'
ok 'nothing was written' test ! -e "$credentials"
prepare --bus nats://192.0.2.1:4222
exits 1 'a local bus that is not local'
like "$err" '192\.0\.2\.1.*loopback' 'says so'
prepare --subnet 192.168.0.0/16
exits 1 'a subnet that is none of ours'
like "$err" '192\.168\.0\.0/16' 'naming it'

# --prepare
prepare
exits 0 'prepare'
machine=$(cat "$credentials/machine")
like "$machine" '^[a-z][a-z2-7]{11}$' 'an id'
is "$(stat -c %a "$credentials")" 700 'the credentials are closed'
is "$(stat -c %a "$credentials"/* "$work"/run/*.conf | sort -u)" 600 'and every file in them, and what was rendered'
is "$(stat -c %a "$work/etc")" 755 'the directory above is not'
is "$(sed -n 's/^user = //p' "$credentials"/*.conf | sort | tr '\n' ' ')" \
	"$(printf '%s\n' agentd dnsd leased meshd operator placerd routed "$machine" | sort | tr '\n' ' ')" 'a user for each'
is "$(sed -n 's/^password = //p' "$credentials"/*.conf | sort -u | grep -cE '^[0-9a-f]{48}$')" 8 'each with a password of its own'
for file in nats store; do
	run nats-server -t -c "$work/run/$file.conf"
	exits 0 "nats-server takes $file.conf"
done
before=$(cat "$credentials"/* "$work"/run/*.conf | sha256sum)
prepare
is "$(cat "$credentials"/* "$work"/run/*.conf | sha256sum)" "$before" 'prepared again: the same'
chmod 755 "$credentials"
echo 'user = dnsd' >"$work/damaged"
cp "$credentials/dnsd.conf" "$work/dnsd.conf"
cp "$work/damaged" "$credentials/dnsd.conf"
prepare
exits 1 'a damaged credential'
like "$err" 'dnsd\.conf' 'is named'
is "$(cat "$credentials/dnsd.conf")" 'user = dnsd' 'and left alone'
cp "$work/dnsd.conf" "$credentials/dnsd.conf"
prepare
is "$(stat -c %a "$credentials")" 700 'what was opened is closed again'

# The servers, and meshd before them.
meshd_start() {
	start "$work/meshd.log" meshd --config "$work/ployz.conf" --state "$work/meshd" "$@"
	meshd_pid=$started
}
store_start() {
	start "$work/store.log" nats-server -c "$work/run/store.conf"
	store_pid=$started
}
says() {
	grep -Eq -e "$1" "$work/meshd.log"
}
secret() {
	sed -n 's/^password = //p' "$credentials/$1.conf"
}
as() {
	user=$1
	shift
	bus "$url" "$user:$(secret "$user")" "$@"
}

meshd_start
ok 'waits for the bus' within 5 says 'waiting for it'
start "$work/nats.log" nats-server -c "$work/run/nats.conf"
within 5 listens "127.0.0.1:$bus_port"
ok 'says when the store stays silent' within 10 says 'making PLOYZ_INTENT: .*store.*trying on'
ok 'and is ready all the same: what runs is served' within 5 says ': ready'
store_start
ok 'founds when the store comes' within 10 says 'region default: role compute'
run as operator last PLOYZ_INTENT "ployz.v1.intent.machine.$machine"
exits 0 'the machine has a record'
like "$out" "\"id\":\"$machine\"" 'its id'
like "$out" '"name":"web-01"' 'its name made valid'
like "$out" '"life_cycle":"active"' 'active'
like "$out" '"region":"default"' 'in the default region'
subnet=$(printf '%s' "$out" | sed -n 's/.*"subnet":"\(10\.101\.[0-9]*\.0\/24\)".*/\1/p')
isnt "$subnet" '' 'a subnet'
claim=$(printf '%s' "$subnet" | sed 's/\.0\/24//; s/\./-/g')
run as operator last PLOYZ_INTENT "ployz.v1.intent.subnet.$claim"
like "$out" "\"machine\":\"$machine\"" 'that it has claimed'
run as operator last PLOYZ_INTENT ployz.v1.intent.region.default
like "$out" '"role":"compute"' 'the region has a role'
run as operator request "ployz.v1.$machine.meshd.status" '{}'
like "$out" '"founding":"done"' 'its status: founded'

# The streams.
stream() {
	run as meshd request "\$JS.$2.API.STREAM.INFO.$1" ''
}
stream PLOYZ_INTENT ployz
for part in '"max_msgs_per_subject":256' '"discard":"new"' '"allow_rollup_hdrs":true' '"deny_delete":true' \
	'"storage":"file"' '"max_bytes":536870912'; do
	like "$out" "$part" "the log: $part"
done
entries=$(printf '%s' "$out" | sed -n 's/.*"last_seq":\([0-9]*\).*/\1/p')
stream PLOYZ_STATUS ployz
like "$out" '"discard":"old"' 'the status records go by age'
stream KV_PLOYZ_LEASES ployz
like "$out" '"max_msgs_per_subject":1,' 'leases have no history'
like "$out" '"max_age":0' 'and no age'
copied() {
	stream PLOYZ_INTENT "$machine"
	printf '%s' "$out" | grep -q "\"last_seq\":$entries,"
}
ok 'the machine has a copy of the log' within 10 copied

# Started again: nothing is written that did not change.
end_pid "$meshd_pid"
meshd_start
ok 'again' within 10 says ': ready'
stream PLOYZ_INTENT ployz
like "$out" "\"last_seq\":$entries," 'no entry was written'
end_pid "$meshd_pid"
meshd_start --name renamed
ok 'with another name' within 10 says 'name web-01 → renamed'
run as operator last PLOYZ_INTENT "ployz.v1.intent.machine.$machine"
like "$out" "\"subnet\":\"$subnet\"" 'the subnet stays'
end_pid "$meshd_pid"

# Somebody else has the subnet that is wanted.
run as meshd append ployz.v1.intent.subnet.10-102-7 '{"machine":"another"}' 0
exits 0 'a claim of another machine'
start "$work/claim.log" meshd --config "$work/ployz.conf" --state "$work/meshd" --subnet 10.102.7.0/24
ok 'its subnet is not taken' within 10 grep -q 'no subnet of 10.102.7.0/24 is left' "$work/claim.log"
end_pid "$started"
meshd_start --subnet 10.102.8.0/24
ok 'another is' within 10 says 'claimed subnet 10\.102\.8\.0/24'

# Who may do what: each user tries all that lib/stream and lib/bucket have.
may() {
	permitted "$url" "$1" "$(secret "$1")" "$machine" 2>/dev/null | sed -n "s/^yes //p" | sed "s/$machine/SELF/g"
}
reads() {
	for stream in "$@"; do
		for verb in info last follow; do
			echo "$verb $stream of the store"
		done
	done
	for verb in info last follow; do
		echo "$verb PLOYZ_INTENT of the copy"
	done
}
may_only() {
	user=$1 expected=$2
	is "$(cat "$work/may.$user")" "$expected" "what $user may do, and no more"
}
trying=
for user in meshd leased placerd agentd routed dnsd operator; do
	may "$user" >"$work/may.$user" &
	trying="$trying $!"
done
# shellcheck disable=SC2086 # a list of pids
wait $trying
everything='PLOYZ_INTENT PLOYZ_STATUS KV_PLOYZ_LEASES'
# shellcheck disable=SC2086 # a list of streams
{
	may_only meshd "$(reads $everything)
append its machine
append a subnet
append a region
ask \$JS.ployz.API.STREAM.CREATE.PLOYZ_INTENT"
	may_only leased "$(reads $everything)
append a namespace
append a deploy's status
put a lease"
	may_only operator "$(reads $everything)
ask ployz.v1.SELF.meshd.status"
}
may_only placerd "$(reads PLOYZ_INTENT)"
may_only agentd "$(reads PLOYZ_INTENT)
append its instances"
may_only routed "$(reads PLOYZ_INTENT)"
may_only dnsd "$(reads PLOYZ_INTENT)"
run bus "$url" request ployz.v1.x.y.z '{}'
exits 1 'nobody without a name'
run bus "$url" operator:wrong request ployz.v1.x.y.z '{}'
exits 1 'nobody with a wrong password'
# An inbox is its user's own.
start "$work/spy.log" bus "$url" "dnsd:$(secret dnsd)" listen '_INBOX.operator.>' 1 2
as operator request "ployz.v1.$machine.meshd.status" '{}' >/dev/null
wait "$started"
is "$(grep -c '^_INBOX' "$work/spy.log")" 0 'nobody hears the answers to another'

# The store goes, and comes back.
end_pid "$store_pid"
ok 'a store that is gone is told of' within 20 says 'what runs goes on'
run as operator request "ployz.v1.$machine.meshd.status" '{}'
like "$out" '"state":"silent"' 'and is in the status'
stream PLOYZ_INTENT "$machine"
like "$out" '"last_seq"' 'the copy answers meanwhile'
store_start
ok 'and so is its return' within 30 says 'the store answers again'
run as operator request "ployz.v1.$machine.meshd.status" '{}'
like "$out" '"percent":0' 'with how full its streams are'
run meshd --config "$work/ployz.conf" --state "$work/meshd"
exits 1 'a second meshd'
like "$err" 'another meshd' 'is refused'
kill -TERM "$meshd_pid"
wait "$meshd_pid"
is "$?" 0 'ends when told to'
done_testing
