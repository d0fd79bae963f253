#!/bin/sh
# A leased that is frozen while another deploy is forced through with `lease break`: it cannot commit when it wakes, and
# says why. Frozen between two renewals, before each of its writes, and with each of them on its way: all of them beside
# each other, each in a namespace of its own.
#
# The leased of m1 is frozen for 45 s, longer than its lease; that of m3 only as long as the other deploy takes, and what
# it watches of the leases is lost on the way: nothing but the fence is in its way.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"
. "$(dirname "$0")/lib/leased.sh"

FROZEN_S=45
# Before a write; or, on its way: it left leased, and comes to the store when the namespace has another holder.
CASES='between open commit close opening committing closing renewal'

# Of a case: what its candidates do, before which step it is held, and what entries the log has in the end, with the two
# of the deploy that was forced through.
image_of() {
	case $1 in
	between) echo slow:1 ;;
	close | closing) echo fail:1 ;;
	*) echo ok:1 ;;
	esac
}

step_of() {
	case $1 in
	open | commit | close) echo "$1" ;;
	renewal) echo start ;;
	esac
}

write_of() {
	case $1 in
	committing) echo commit ;;
	opening | closing | renewal) echo "$1" ;;
	esac
}

entries_of() {
	case $1 in
	open | opening) echo 2 ;;
	*) echo 3 ;;
	esac
}

# keep MACHINE CASE: its write stays on its way.
keep() {
	tell "$1" "keep 0 $(pattern "$(write_of "$2")" "$1-$2")"
}

held() { # held MACHINE CASE
	grep -q "deploy old-$1-$2: waiting before phase" "$work/leased-$1.log"
}

starting() {
	grep -q "deploy old-$1-between of namespace $1-between: starting" "$work/leased-$1.log"
}

# begin MACHINE: a deploy of each case, as far as where it is to be frozen. The renewal comes 10 s after its lease.
begin() {
	for case in $CASES; do
		step=$(step_of "$case")
		[ -z "$step" ] || : >"$PLOYZ_FAILPOINT/$1-$case.$step"
		case $case in
		opening | committing | closing) keep "$1" "$case" ;;
		esac
		deploy "$1" "old-$1-$case" "$(image_of "$case")" "$1-$case" >"$work/out"
	done
	within 10 held "$1" renewal || bail 'the rollout is not held'
	keep "$1" renewal
	for case in $CASES; do
		[ -z "$(step_of "$case")" ] || within 10 held "$1" "$case" || fail "$1: the rollout reaches $case"
		[ -z "$(write_of "$case")" ] || within 15 said "$1" kept "$(subject "$(write_of "$case")" "$1-$case")" ||
			fail "$1: $case is on its way"
	done
	within 5 starting "$1" || fail "$1: candidates start"
}

# Whoever is held goes on when it wakes, but for the one that only renews: a machine that the other deploy had nothing to
# do with would start its candidates, for the next deploy to sweep.
let_go() {
	rm "$PLOYZ_FAILPOINT/$1-open.open" "$PLOYZ_FAILPOINT/$1-commit.commit" "$PLOYZ_FAILPOINT/$1-close.close"
}

# force MACHINE: with it frozen, its leases are broken, and other deploys go through on m2.
force() {
	deploy m2 "refused-$1" ok:2 "$1-between" >"$work/out"
	ok "$1 is frozen: another machine is refused while it holds the lease" within 5 ended m2 "refused-$1" refused
	for case in $CASES; do
		ask m2 lease.break "{\"namespace\":\"$1-$case\",\"operator\":\"boss@desk\"}" >"$work/broken-$1-$case"
	done
	for case in $CASES; do
		deploy m2 "new-$1-$case" ok:2 "$1-$case" >"$work/out"
	done
	for case in $CASES; do
		within 20 ended m2 "new-$1-$case" 'done' || fail "$1, $case: the other deploy goes through" \
			"$(cat "$work/broken-$1-$case"; record m2 "new-$1-$case")"
		head_of "$1-$case" >"$work/head-$1-$case"
	done
	pass "$1: other deploys were forced through"
}

# Of the deploy that was frozen: how it ended, in its own words.
why() {
	record "$1" "old-$1-$2" | sed -n 's/.*"failure":{"code":"\([A-Z_]*\)","message":"\([^"]*\)".*/\1: \2/p'
}

# Of m1: its clock, or the lease that it sees; whichever comes first when it wakes.
BROKEN='LEASE_LOST: the lease of namespace [a-z0-9-]* (was broken by boss@desk|was taken over by new-[a-z0-9-]*@desk)'
SLEPT='LEASE_LOST: (the lease of namespace [a-z0-9-]* could not be renewed in time|this leased slept past the term of its lease)'
# Of m3: the next write meets the other one's.
FENCED='FENCED: another holder has opened namespace [a-z0-9-]* meanwhile: '
RENEWED='LEASE_LOST: the lease of namespace [a-z0-9-]* was lost: somebody else has written'
CLOSED='FAILED: service web, slot . on machine .. did not get ready' # it had failed before it was frozen

reason_of() {
	case $1:$2 in
	m1:*) echo "$BROKEN|$SLEPT" ;;
	m3:between | m3:renewal) echo "$RENEWED" ;;
	m3:close | m3:closing) echo "$CLOSED" ;;
	m3:*) echo "$FENCED" ;;
	esac
}

# what_is_wrong MACHINE CASE: nothing, or what is not as it should be once the frozen one is awake.
what_is_wrong() {
	ns=$1-$2
	within 20 ended "$1" "old-$ns" failed || echo "it has not failed: $(record "$1" "old-$ns")"
	why "$1" "$2" | grep -Eq "^($(reason_of "$1" "$2"))" || echo "it says: $(why "$1" "$2")"
	case $1:$2 in
	m3:clos*)
		grep -q "deploy old-$ns: the entry that closes it was not stored (somebody else has written" \
			"$work/leased-$1.log" || echo 'it does not say that it could not close it'
		;;
	esac
	[ "$(head_of "$ns")" = "$(cat "$work/head-$ns")" ] || echo "another head than before: $(head_of "$ns")"
	grep -q "\"revision\":1,.*\"deploy\":\"new-$ns\"" "$work/head-$ns" || echo 'the head is not of the other deploy'
	grep -q '"open":' "$work/head-$ns" && echo 'a deploy is open'
	[ "$(entries "$HEAD.$ns")" = "$(entries_of "$2")" ] || echo "$(entries "$HEAD.$ns") entries"
	case $(lease_of "$ns") in
	*'"state":"free","epoch":2,'*) ;;
	*) echo "a wrong lease: $(lease_of "$ns")" ;;
	esac
}

# woken MACHINE: each knows that it has lost, and nothing of it came into the log.
woken() {
	ok "$1: four writes come late" within 5 grep -q '^went [1-9]' "$work/relay-$1.log"
	for case in $CASES; do
		is "$(what_is_wrong "$1" "$case")" '' "$1, $(words_of "$case"): it cannot go on, and says why"
		diag "$(why "$1" "$case")"
	done
	unlike "$("$bus" "$bus_url" request "ployz.v1.$1.agentd.list" '{}')" "\"deploy\":\"old-$1" "$1: no container of its deploys is left"
	deploy "$1" "after-$1" ok:3 "$1-between" >"$work/out"
	ok "$1: the next deploy goes through" within 10 ended "$1" "after-$1" 'done'
}

words_of() {
	case $1 in
	between) echo 'between two renewals' ;;
	open | commit | close) echo "before its $1 entry" ;;
	opening) echo 'its open entry on the way' ;;
	committing) echo 'its commit entry on the way' ;;
	closing) echo 'its close entry on the way' ;;
	renewal) echo 'its renewal on the way' ;;
	esac
}

leased_world
for machine in m1 m2 m3; do
	machine_start $machine
done
leased_start m2
export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"
for machine in m1 m3; do
	relay_start $machine
	leased_start $machine "$relay_url" || bail "$(cat "$work/leased-$machine.log")"
done

begin m1
kill -STOP "$leased_m1"
frozen_since=$(uptime_s)
at_end "kill -CONT $leased_m1"
let_go m1
force m1

begin m3
tell m3 'deaf ^\$KV\.PLOYZ_LEASES\.'
kill -STOP "$leased_m3"
at_end "kill -CONT $leased_m3"
let_go m3
force m3
# What was on its way comes first: the answers wait for the one that wakes.
tell m3 go
within 5 grep -q '^went' "$work/relay-m3.log"
entries "$HEAD.none" >"$work/out" # answered behind it
kill -CONT "$leased_m3"
woken m3

thawed() {
	[ $(($(uptime_s) - frozen_since)) -ge $FROZEN_S ]
}
within $FROZEN_S thawed
kill -CONT "$leased_m1"
tell m1 go
woken m1
done_testing
