#!/bin/sh
# A leased that is stopped (SIGSTOP) while another deploy is forced through with `lease break`: it cannot commit when it
# continues, and reports why. It is stopped between two renewals, before each of its writes, and with each write under
# way. All cases run at the same time, each in its own namespace.
#
# The leased of m1 is stopped for 45 s, longer than its lease. That of m3 is stopped only as long as the other deploy
# takes, and its watch of the leases is lost by the relay, so that only the fence can stop it.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"
. "$(dirname "$0")/lib/leased.sh"

STOPPED_S=45
# `open commit close`: before that write. `opening committing closing renewal`: leased has sent the write, and it reaches
# the store when the namespace has another holder.
CASES='between open commit close opening committing closing renewal'

# Per case: the image, which decides how the candidates behave; the phase before which the rollout is held; the number
# of entries in the log at the end, with the two of the deploy that was forced through.
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

# keep MACHINE CASE: the relay keeps the write.
keep() {
	tell "$1" "keep 0 $(pattern "$(write_of "$2")" "$1-$2")"
}

held() { # held MACHINE CASE
	grep -q "deploy old-$1-$2: failpoint: waiting before phase" "$work/leased-$1.log"
}

starting() {
	grep -q "deploy old-$1-between of namespace $1-between: starting" "$work/leased-$1.log"
}

# begin MACHINE: starts a deploy per case, up to the point at which leased is stopped. A renewal follows 10 s after the
# lease was taken.
begin() {
	for case in $CASES; do
		step=$(step_of "$case")
		[ -z "$step" ] || : >"$PLOYZ_FAILPOINT/$1-$case.$step"
		case $case in
		opening | committing | closing) keep "$1" "$case" ;;
		esac
		deploy "$1" "old-$1-$case" "$(image_of "$case")" "$1-$case" >"$work/out"
	done
	within 30 held "$1" renewal || bail 'the rollout is not held'
	keep "$1" renewal
	for case in $CASES; do
		[ -z "$(step_of "$case")" ] || within 10 held "$1" "$case" || fail "$1: the rollout reaches $case"
		[ -z "$(write_of "$case")" ] || within 15 said "$1" kept "$(subject "$(write_of "$case")" "$1-$case")" ||
			fail "$1: $case is on its way"
	done
	within 5 starting "$1" || fail "$1: candidates start"
}

# The held rollouts continue when leased does. The one that only renews stays held.
release_failpoints() {
	rm "$PLOYZ_FAILPOINT/$1-open.open" "$PLOYZ_FAILPOINT/$1-commit.commit" "$PLOYZ_FAILPOINT/$1-close.close"
}

# force MACHINE: while its leased is stopped, breaks its leases and executes other deploys on m2.
force() {
	deploy m2 "refused-$1" ok:2 "$1-between" >"$work/out"
	ok "$1 is stopped: another machine is refused while it holds the lease" within 5 ended m2 "refused-$1" refused
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

# why MACHINE CASE: the code and message with which the deploy has ended.
why() {
	record "$1" "old-$1-$2" | sed -n 's/.*"failure":{"code":"\([A-Z_]*\)","message":"\([^"]*\)".*/\1: \2/p'
}

# m1: its clock, or the lease that it sees, whichever it handles first.
LOST='LEASE_LOST: lease of namespace [a-z0-9-]* lost: (broken by boss@desk|taken over by new-[a-z0-9-]*@desk|another writer changed it|it could not be renewed in time)'
EXPIRED='LEASE_LOST: cannot continue deploy [a-z0-9-]*: the lease of namespace [a-z0-9-]* was not renewed within its term'
# The commit was under way: the log decides, and reports the entry that followed the opening one.
DECIDED='FAILED: deploy [a-z0-9-]* did not commit: entry [0-9]* of namespace [a-z0-9-]*, by deploy new-[a-z0-9-]*, followed its opening entry'
# m3: the next write, renewal or command meets those of the other holder.
FENCED='FENCED: (cannot continue deploy [a-z0-9-]*: another holder opened the namespace before the commit|epoch 1 is over, 2 was seen)'
CONFLICT='LEASE_LOST: lease of namespace [a-z0-9-]* lost: another writer changed it'
FAILED='FAILED: cannot start service web, slot [01] on machine m[123]: it exited with code 1' # before leased was stopped

reason_of() {
	case $1:$2 in
	*:clos*) echo "$FAILED" ;;
	m1:committing) echo "$LOST|$EXPIRED|$DECIDED" ;;
	m1:*) echo "$LOST|$EXPIRED" ;;
	m3:commit*) echo "$FENCED" ;;
	m3:*) echo "$FENCED|$CONFLICT" ;;
	esac
}

# what_is_wrong MACHINE CASE: prints what differs from what is expected once leased has continued.
what_is_wrong() {
	ns=$1-$2
	within 20 ended "$1" "old-$ns" failed || echo "it has not failed: $(record "$1" "old-$ns")"
	why "$1" "$2" | grep -Eq "^($(reason_of "$1" "$2"))" || echo "its reason is: $(why "$1" "$2")"
	case $1:$2 in
	m3:clos*)
		grep -q "cannot close deploy old-$ns in the log: cannot append to .*: another writer changed it" \
			"$work/leased-$1.log" || echo 'it does not report that it could not close the deploy'
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

# continued MACHINE: each rollout has ended, and appended nothing.
continued() {
	ok "$1: four writes arrive late" within 5 grep -q '^went [1-9]' "$work/relay-$1.log"
	for case in $CASES; do
		is "$(what_is_wrong "$1" "$case")" '' "$1, $(words_of "$case"): it cannot continue, and reports why"
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
	opening) echo 'its open entry under way' ;;
	committing) echo 'its commit entry under way' ;;
	closing) echo 'its close entry under way' ;;
	renewal) echo 'its renewal under way' ;;
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
stopped_since=$(uptime_s)
at_end "kill -CONT $leased_m1"
release_failpoints m1
force m1

begin m3
tell m3 'deaf ^\$KV\.PLOYZ_LEASES\.'
kill -STOP "$leased_m3"
at_end "kill -CONT $leased_m3"
release_failpoints m3
force m3
# The kept writes reach the store first; leased reads their answers when it continues.
tell m3 go
within 5 grep -q '^went' "$work/relay-m3.log"
entries "$HEAD.none" >"$work/out" # the answer follows those of the writes
kill -CONT "$leased_m3"
continued m3

is_over() {
	[ $(($(uptime_s) - stopped_since)) -ge $STOPPED_S ]
}
within $STOPPED_S is_over
kill -CONT "$leased_m1"
tell m1 go
continued m1
done_testing
