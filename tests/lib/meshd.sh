# meshd with the two nats-servers of a machine. Sourced after tests/lib/fixture.sh.

bus_port=$(free_port)
leaf_port=$(free_port)
url=nats://127.0.0.1:$bus_port
credentials=$work/etc/credentials
state=$work/lib/ployz/meshd
cat >"$work/ployz.conf" <<-END
	bus = $url
	leaf-listen = 127.0.0.1:$leaf_port
	credentials = $credentials
	run = $work/run
	bus-data = $work/bus
	store-data = $work/store
	name = Web_01.example.org
END
both='PLOYZ_INTENT PLOYZ_FACTS'
three="$both PLOYZ_MANIFESTS"
all="$three PLOYZ_STATUS KV_PLOYZ_LEASES"

prepare() {
	run meshd --config "$work/ployz.conf" --state "$state" --prepare "$@"
}

meshd_start() {
	start "$work/meshd.log" meshd --config "$work/ployz.conf" --state "$state" "$@"
	meshd_pid=$started
}
meshd_restart() {
	end_pid "$meshd_pid"
	meshd_start "$@"
}
local_start() {
	start "$work/nats.log" nats-server -c "$work/run/nats.conf"
	nats_pid=$started
	within 5 listens "127.0.0.1:$bus_port"
}
store_start() {
	start "$work/store.log" nats-server -c "$work/run/store.conf"
	store_pid=$started
}
store_end() {
	end_pid "$store_pid"
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
# json EXPRESSION: of the last reply, $j.
json() {
	printf '%s' "$out" | perl -MJSON::PP -e '$j = decode_json(join "", <STDIN>); print eval $ARGV[0] // ""' "$1"
}
info() { # info STREAM [DOMAIN]
	run as meshd request "\$JS.${2:-ployz}.API.STREAM.INFO.$1" ''
}
last_of() { # last_of STREAM [DOMAIN]
	info "$@"
	json '$j->{state}{last_seq}'
}
all_last() {
	for stream in PLOYZ_INTENT PLOYZ_FACTS PLOYZ_MANIFESTS PLOYZ_STATUS KV_PLOYZ_LEASES; do
		printf '%s ' "$(last_of $stream)"
	done
}
limit_of() {
	info "$@"
	json '$j->{config}{max_msgs_per_subject}'
}
generation_of() {
	info "$@"
	json '$j->{config}{metadata}{"ployz.generation"}'
}
store_id_of() {
	info "$@"
	json '$j->{config}{metadata}{"ployz.store"}'
}
# edit STREAM DOMAIN STATEMENT: updates the stream to its configuration $c, changed.
edit() {
	info "$1" "$2"
	as meshd stream "$(printf '%s' "$out" | perl -MJSON::PP -e '
		my $c = decode_json(join "", <STDIN>)->{config};
		delete $c->{metadata}{$_} for grep { /^_nats/ } keys %{$c->{metadata}};
		eval $ARGV[0];
		die $@ if $@;
		print encode_json($c)' "$3")" "$2"
}
status() {
	run as operator request "ployz.v1.$machine.meshd.status" '{}'
}
status_says() { # status_says EXPRESSION REGEX
	status
	json "$1" | grep -Eq -e "$2"
}
ask() { # ask VERB JSON [SECONDS]
	run as operator request "ployz.v1.$machine.meshd.$1" "$2" "${3:-60}"
}
marked() {
	sed -n "s/.*\"$1\":\"\\{0,1\\}\\([a-z0-9]*\\).*/\\1/p" "$state/store.json"
}
marker_names() { # marker_names STREAM SEQUENCE
	grep -q "\"$1\":{\"sequence\":$2," "$state/store.json"
}
linked() {
	as meshd request '$JS.ployz.API.STREAM.INFO.PLOYZ_INTENT' '' 1
}
# The mirrors have all that the store has, of the store $request.
mirrored() {
	for stream in PLOYZ_INTENT PLOYZ_FACTS PLOYZ_MANIFESTS; do
		[ "$(last_of $stream)" = "$(last_of $stream "$machine")" ] || return 1
		[ "$(store_id_of $stream "$machine")" = "$request" ] || return 1
	done
}
