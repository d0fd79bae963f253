#!/bin/sh
# Answers of the store that are lost between it and leased: of each write that a deploy makes, the answer is lost, or the
# answer and then that of the reading back, or the write itself, or the write comes late, after its own repetition. Each
# time the deploy is done, the writer knows its own entry again, and the log has exactly one opening and one end.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"
. "$(dirname "$0")/lib/leased.sh"

export PLOYZ_FAILPOINT=$work/hold
mkdir "$PLOYZ_FAILPOINT"

# The reading back of what was written to namespace $2.
reading() {
	case $1 in
	lease | renewal | release) printf '^\\$JS\.ployz\.API\.STREAM\.MSG\.GET\.KV_PLOYZ_LEASES .*PLOYZ_LEASES\.%s"' "$2" ;;
	*) printf '^\\$JS\.ployz\.API\.STREAM\.MSG\.GET\.PLOYZ_INTENT .*namespace\.%s"' "$2" ;;
	esac
}

WRITES='lease opening commit closing renewal release'
LOSSES='answer answers request late'

# lose LOSS WRITE NAMESPACE: from now on. All but a renewal come after a first reading of the same, lost too.
lose() {
	case $1 in
	answer) tell m1 "answer 1 $(pattern "$2" "$3")" ;;
	answers)
		tell m1 "answer 1 $(pattern "$2" "$3")"
		tell m1 "answer $([ "$2" = renewal ]; echo $(($? + 1))) $(reading "$2" "$3")"
		;;
	request) tell m1 "request 1 $(pattern "$2" "$3")" ;;
	late) tell m1 "keep 1 $(pattern "$2" "$3")" ;;
	esac
}

word_of() { # what the relay says of a LOSS
	case $1 in
	answer | answers) echo answer ;;
	request) echo request ;;
	late) echo kept ;;
	esac
}

words_of() {
	case $1 in
	answer) echo 'its answer lost' ;;
	answers) echo 'its answer lost, and that of the reading back' ;;
	request) echo 'lost itself' ;;
	late) echo 'come after its repetition' ;;
	esac
}

image_of() { # a deploy that fails is closed
	case $1 in
	closing) echo fail:1 ;;
	*) echo ok:1 ;;
	esac
}

end_of() {
	case $1 in
	closing) echo failed ;;
	*) echo 'done' ;;
	esac
}

# what_is_wrong WRITE LOSS: nothing, or how its deploy did not end as it should have.
what_is_wrong() {
	ns=$1-$2
	said m1 "$(word_of "$2")" "$(subject "$1" "$ns")" || echo 'nothing was lost'
	within 20 ended m1 "d-$ns" "$(end_of "$1")" || echo "it has not ended as $(end_of "$1"): $(record m1 "d-$ns")"
	grep -q "deploy d-$ns: the store does not answer" "$work/leased-m1.log" ||
		echo 'it was not said that the store does not answer'
	[ "$(entries "$HEAD.$ns")" = 2 ] || echo "$(entries "$HEAD.$ns") entries in the log instead of 2"
	case $(head_of "$ns") in
	*'"open":'*) echo 'the deploy is still open' ;;
	esac
	case $1:$(head_of "$ns") in
	closing:*'"revision":0,'* | [!c]*:*'"revision":1,'* | commit:*'"revision":1,'*) ;;
	*) echo "a wrong head: $(head_of "$ns")" ;;
	esac
	case $(lease_of "$ns") in
	*'"state":"free","epoch":1,'*) ;;
	*) echo "a wrong lease: $(lease_of "$ns")" ;;
	esac
}

leased_world
relay_start m1
machine_start m1
leased_start m1 "$relay_url" || bail "$(cat "$work/leased-m1.log")"

# All at once: each in a namespace of its own. The one whose renewal is lost waits for it before it starts anything.
for write in $WRITES; do
	for loss in $LOSSES; do
		ns=$write-$loss
		if [ "$write" = renewal ]; then
			: >"$PLOYZ_FAILPOINT/$ns.start"
		else
			lose "$loss" "$write" "$ns"
		fi
		deploy m1 "d-$ns" "$(image_of "$write")" "$ns" >"$work/out"
	done
done

# A renewal comes 10 s after the taking, which was not to be lost.
for loss in $LOSSES; do
	within 30 grep -q "deploy d-renewal-$loss: failpoint: waiting before phase start" "$work/leased-m1.log" || bail "renewal-$loss is not held"
	lose "$loss" renewal "renewal-$loss"
done
missed() {
	[ "$(grep -c 'deploy d-renewal-[a-z]*: the store does not answer' "$work/leased-m1.log")" -eq 4 ]
}
ok 'four renewals are missed' within 20 missed

# What is late comes after its repetition: when that is in the log and the deploy over.
rm "$PLOYZ_FAILPOINT"/renewal-*.start
for write in $WRITES; do
	ok "$write, late: the deploy ends without it" within 20 ended m1 "d-$write-late" "$(end_of "$write")"
done
tell m1 go
ok 'what was late has come' within 5 grep -q '^went 6$' "$work/relay-m1.log"
entries "$HEAD.none" >"$work/out" # answered behind it

for write in $WRITES; do
	for loss in $LOSSES; do
		is "$(what_is_wrong "$write" "$loss")" '' "$write, $(words_of "$loss"): its own entry, and exactly one"
	done
done
is "$(grep -c '^answer .*MSG.GET.KV_PLOYZ_LEASES' "$work/relay-m1.log")" 5 'readings of leases were lost'
is "$(grep -c '^answer .*MSG.GET.PLOYZ_INTENT' "$work/relay-m1.log")" 6 'and of heads'
done_testing
