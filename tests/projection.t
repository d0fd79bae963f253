#!/bin/sh
# lib/projection on a store that loses, regains and replaces its entries, and on three replicas, against real
# nats-servers.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"

bus=$BUILD/tool/bus
member=ployz.v1.intent.member
FOLLOWERS=12 # on three replicas

printed() {
	grep -q -- "$1" "$log"
}

lines() {
	grep -c -- "$1" "$log"
}

append() {
	"$bus" "$bus_url" append "$1" "$2" any >>"$work/out" 2>&1
}

follow_start() {
	log=$1
	start "$log" "$BUILD/tool/follow" "$bus_url" "$bus_machine"
	follow_pid=$started
}

store_kill() {
	kill -9 "$store_pid"
	within 5 gone "$store_pid"
}

# The store as it was when it was saved. Its copy is what a backup is: the same creation times.
store_save() {
	store_kill
	rm -rf "$work/saved"
	cp -a "$work/store" "$work/saved"
	store_start
	within 10 store_linked
}

store_revert() {
	store_kill
	rm -rf "$work/store"
	cp -a "$work/saved" "$work/store"
	store_start
	within 10 store_linked
}

bus_start || bail 'the two servers did not start'
ok 'the streams are created' streams_make 1 first 1
append $member.a '{"n":1}'
append $member.b '{"n":2}'
append ployz.v1.facts.m1.shop '{"n":1}'
store_save
append $member.c '{"n":3}'
append $member.d '{"n":4}'

# A store that has gone back behind what was seen.
follow_start "$work/reverted.log"
ok 'a projection has everything' within 5 printed '^settled 1 4 1'
store_revert
ok 'a store that lacks entries is refused' within 30 printed 'entries of PLOYZ_INTENT are missing: its last is 2, 4 was seen'
ok 'and the next step named' printed 'ployzctl store accept'
is "$(lines '^gone')" 0 'nothing is dropped'
is "$(lines '^settled')" 1 'and nothing taken'

# The same store, that has moved past what was seen.
for entry in e f g; do
	append $member.$entry "{\"n\":\"$entry\"}"
done
ok 'one that has moved on is refused by its last entry' within 10 printed 'entries of PLOYZ_INTENT are missing: entry 4 differs'
append $member.h '{"n":"h"}'
sleep 6
is "$(lines '^entry.*{"n":"[efgh]"}')" 0 'its entries are not taken'
is "$(lines '^gone')" 0 'and nothing is dropped'

# An operator decides for it.
ok 'its generation is raised' streams_make 1 first 2
ok 'then it is taken' within 10 printed '^settled 2 6 1'
ok 'with its entries' printed "^entry $member.h 6"
ok 'that were written with sequences seen before' printed "^entry $member.e 3 {\"n\":\"e\"}"
is "$(lines "^gone $member.[cd]")" 2 'and without what it lacks'
is "$(lines '^gone')" 2 'and nothing else is dropped'
ok 'the view is fresh' within 2 printed '^fresh'

# A store that was created again, with as many entries.
store_kill
rm -rf "$work/store"
store_start
ok 'a store without streams is refused' within 30 printed 'cannot follow PLOYZ_INTENT: .*stream not found'
ok 'and created again' streams_make 1 second 2
for entry in 1 2 3 4 5 6; do
	append $member.n$entry '{}'
done
ok 'one that was created again is refused' within 10 printed 'PLOYZ_INTENT was created again'
sleep 6
is "$(lines "^entry $member.n")" 0 'its entries are not taken'
is "$(lines '^gone')" 2 'nothing more is dropped'
ok 'its generation is raised' streams_make 1 second 3
ok 'then it is taken' within 10 printed '^settled 3 6 0'
is "$(lines "^entry $member.n")" 6 'with its entries'
is "$(lines '^gone')" 9 'and without those of the old one'

# A lower generation.
store_kill
rm -rf "$work/store"
store_start
within 10 store_linked
streams_make 1 third 1
for entry in 1 2 3 4 5 6 7; do
	append $member.o$entry '{}'
done
ok 'a store of a lower generation is refused' within 30 printed 'PLOYZ_INTENT has store generation 1, generation 3 was seen'
end_pid "$follow_pid"

# A projection that starts then knows from the local mirror what the store had.
ok 'the streams are of the next generation' streams_make 1 third 4
ok 'the local mirrors are created' mirrors_make
mirrored() {
	"$bus" "$bus_url" request "\$JS.$bus_machine.API.STREAM.INFO.PLOYZ_INTENT" '' | grep -q '"last_seq": *7,'
}
ok 'and have everything' within 20 mirrored
store_kill
rm -rf "$work/store"
store_start
within 10 store_linked
streams_make 1 fourth 4
append $member.x '{}'
follow_start "$work/started.log"
ok 'a projection that starts is served by the mirror' within 10 printed '^settled 0 7 0'
ok 'and refuses a store that has less' printed 'entries of PLOYZ_INTENT are missing: its last is 1, 7 was seen'
is "$(lines "^entry $member.x")" 0 'whose entries are not taken'
ok 'until its generation is raised' streams_make 1 fourth 5
ok 'then it is taken' within 10 printed '^settled 5 1 0'
is "$(lines '^gone')" 7 'as it is'
end_pid "$follow_pid"
end_pid "$bus_pid"
store_kill
rm -rf "$work/bus"

# Three replicas, one of them behind: a consumer may be on any.
bus_start_three || bail 'three stores did not start'
ok 'the streams are created on three replicas' within 30 streams_make 3
ok 'filled' within 30 "$bus" "$bus_url" fill $member 5
kill -9 "$store_pid_3"
within 5 gone "$store_pid_3"
ok 'a store dies, and much is written' within 30 "$bus" "$bus_url" fill $member 3000 5
store_start 3
started_all=
for number in $(seq $FOLLOWERS); do
	start "$work/replica$number.log" "$BUILD/tool/follow" "$bus_url" "$bus_machine"
	started_all="$started_all $started"
done
all_settled() {
	[ "$(grep -l '^settled' "$work"/replica*.log | wc -l)" -eq $FOLLOWERS ]
}
ok "$FOLLOWERS projections settle while it catches up" within 60 all_settled
behind=0
for number in $(seq $FOLLOWERS); do
	had=$(sed '/^settled/q' "$work/replica$number.log" | grep -c '^entry')
	[ "$had" -eq 3005 ] || diag "projection $number: $had of 3005"
	[ "$had" -eq 3005 ] || behind=$((behind + 1))
done
is "$behind" 0 'and each has everything when it first does'
ok 'what follows reaches all' append $member.last '{"n":"last"}'
all_have_last() {
	[ "$(grep -l "^entry $member.last" "$work"/replica*.log | wc -l)" -eq $FOLLOWERS ]
}
within 10 all_have_last || diag "$(grep -c "^entry $member.last" "$work"/replica*.log)"
ok 'within seconds' all_have_last

done_testing
