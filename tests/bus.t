#!/bin/sh
# lib/bus, lib/stream and lib/projection against real nats-servers: a store and the local bus that is its leaf.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"

bus=$BUILD/tool/bus
log=$work/follow.log
subject=ployz.v1.intent.member

printed() {
	grep -q -- "$1" "$log"
}

# The machine's local mirrors have this last sequence of PLOYZ_INTENT.
mirrored() {
	"$bus" "$bus_url" request "\$JS.$bus_machine.API.STREAM.INFO.PLOYZ_INTENT" '' | grep -q "\"last_seq\": *$1,"
}

follow_start() {
	log=$1
	start "$log" "$BUILD/tool/follow" "$bus_url" "$bus_machine"
	follow_pid=$started
}

bus_start || bail 'the two servers did not start'

run "$bus" "$bus_url" request ployz.v1.m1.agentd.list '{}'
is "$code" 1 'without a subscriber a request fails at once'
ok 'the streams are created' streams_make
ok 'creating them again is no error' streams_make
is "$("$bus" "$bus_url" append $subject.a '{"n":1}' 0)" 1 'the first entry of a subject'
run "$bus" "$bus_url" append $subject.a '{"n":2}' 0
is "$code" 1 'a second first entry is refused'
is "$("$bus" "$bus_url" append $subject.a '{"n":2}' 1)" 2 'compare-and-set on the last one'
is "$("$bus" "$bus_url" append $subject.b '{"n":3}' any)" 3 'no condition'
is "$("$bus" "$bus_url" last PLOYZ_INTENT $subject.a)" '{"n":2}' 'the last entry is read back'
"$bus" "$bus_url" append ployz.v1.facts.m1.shop '{"n":1}' 0 >"$work/out"
ok 'the local mirrors are created' mirrors_make
ok 'and have all entries' within 20 mirrored 3

follow_start "$work/follow.log"
ok 'a projection settles on the last entry of each subject' within 5 printed '^settled 1 3 1'
ok 'with its data' printed "^entry $subject.a 2"
ok 'of both streams' printed '^entry ployz.v1.facts.m1.shop 1'
is "$(grep -c "^entry $subject.a" "$log")" 1 'the older entries of a subject are not handed over'
"$bus" "$bus_url" append $subject.c '{"n":4}' 0 >"$work/out"
ok 'a later entry is handed over' within 2 printed '^settled 1 4 1'

# The store is killed: the view stays, and continues when it is back, without a gap or a duplicate.
kill -9 "$store_pid"
within 5 gone "$store_pid"
run "$bus" "$bus_url" append $subject.c '{"n":5}' 4
is "$code" 1 'without the store nothing is written'
store_start
ok 'the store is back with everything' within 10 "$bus" "$bus_url" last PLOYZ_INTENT $subject.c
"$bus" "$bus_url" append $subject.c '{"n":5}' 4 >"$work/out"
ok 'the projection follows again' within 20 printed "^entry $subject.c 5"
is "$(grep -c "^entry $subject.c 4" "$log")" 1 'nothing is handed over twice'

# The local bus is killed: the connection is restored by itself.
kill -9 "$bus_pid"
within 5 gone "$bus_pid"
ok 'the view is stale without the bus' within 5 printed '^stale'
local_start
within 10 "$bus" "$bus_url" last PLOYZ_INTENT $subject.c >"$work/out"
ok 'and fresh again afterwards' within 10 printed '^fresh'
"$bus" "$bus_url" append $subject.d '{"n":6}' 0 >"$work/out"
ok 'with what was written meanwhile' within 20 printed "^entry $subject.d 6"
end_pid "$follow_pid"

# Without the store a projection starts from the local mirror, stale.
ok 'the mirror has followed' within 40 mirrored 6
kill -9 "$store_pid"
within 5 gone "$store_pid"
follow_start "$work/mirror.log"
ok 'a projection starts from the mirror' within 10 printed '^settled 0 6 1'
ok 'and is stale' printed '^stale'
store_start
ok 'it follows the store when that is back' within 20 printed '^fresh'
ok 'as of its generation' within 2 printed '^settled 1 6 1'
is "$(grep -c '^entry' "$log")" 5 'without handing anything over again'
end_pid "$follow_pid"

# An older server is refused: here a listener that claims to be one.
old_port=$(free_port)
start "$work/old.log" perl -MIO::Socket::INET -e '
	my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$ARGV[0]", Listen => 5, ReuseAddr => 1) or die;
	while (my $c = $l->accept) { print $c qq(INFO {"server_id":"x","version":"2.9.10","max_payload":1048576}\r\n); }' "$old_port"
within 5 listens "127.0.0.1:$old_port"
run "$bus" "nats://127.0.0.1:$old_port" request a b
like "$err" 'nats-server 2.9.10 .* is too old' 'nats-server 2.9 is refused, with its version'
like "$err" 'install nats-server 2.10 or newer' 'with what to install'

# A server that refuses the user later: nats.c closes the connection, and the program exits with the reason.
user_port=$(free_port)
user_start() {
	printf 'listen: 127.0.0.1:%s\nauthorization { users [ { user: machine, password: %s } ] }\n' "$user_port" "$1" \
		>"$work/user.conf"
	start "$work/user.log" nats-server -c "$work/user.conf"
	user_pid=$started
	within 10 listens "127.0.0.1:$user_port"
}
user_start first
start "$work/refused.log" "$bus" "nats://127.0.0.1:$user_port" machine:first listen here 1000 100
refused_pid=$started
log=$work/refused.log
called() {
	"$bus" "nats://127.0.0.1:$user_port" machine:first publish here 'hello' && printed '^here hello'
}
ok 'a program signs in and receives' within 10 called
kill -9 "$user_pid"
within 5 gone "$user_pid"
user_start second
ok 'a program whose user is refused while it runs ends' within 20 gone "$refused_pid"
like "$(cat "$log")" 'cannot sign in to the bus again: .*; exiting' 'with the reason'

done_testing
