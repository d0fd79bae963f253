#!/bin/sh
# The models of the deploy protocol (tests/model/*.pml) in SPIN. Within the bounds of its row in tests/model/rows each is
# explored completely and holds, and reaches all that its text says it reaches; each mutation there is caught.
#
#   MODEL=whole    every row, not only the quick ones
#   MODEL_COUNTS   a file that gets the number of states explored and of mutations caught
. tests/lib/tap.sh
. tests/lib/fixture.sh

JOBS=2

command -v spin >/dev/null || skip_all 'spin is not installed'

states_sum=0
mutations_caught=0

# begin N WHEN EXPECTED MODEL FLAG…: in the background, in $work/N.
begin() {
	begin_dir=$work/$1 begin_expected=$3 begin_model=$4
	shift 4
	# A mutation is found within a moment: compiling is most of it.
	case $begin_expected in
	caught) optimize=-O0 ;;
	*) optimize=-O2 ;;
	esac
	mkdir -p "$begin_dir"
	start "$begin_dir/report" tests/model/verify "$begin_dir" "tests/model/$begin_model.pml" $optimize "$@"
	eval "pid_${begin_dir##*/}=$started"
}

# The last steps before an error, one a line.
trail() {
	(cd "$work/$1" && spin -t -p "$@" ./*.pml 2>&1) | grep -F '[' | tail -n 60
}

# judge N WHEN EXPECTED MODEL FLAG…
judge() {
	judge_dir=$work/$1 judge_expected=$3 judge_model=$4
	eval "wait \$pid_$1"
	shift 4
	report=$judge_dir/report
	name="$judge_model${*:+ ($(echo "$*" | sed 's/-D//g'))}"
	states=$(awk '/states, stored/ {printf "%d", $1}' "$report")
	errors=$(sed -n 's/.*errors: \([0-9]*\)$/\1/p' "$report")
	reason=$(sed -n 's/^pan:1: //p' "$report" | head -n 1)
	unreached=$(sed -n "s/.*printf('reached: \(.*\)\\\\n')\"\$/never reached: \1/p" "$report" | sort -u)
	if [ "$judge_expected" = caught ]; then
		case $errors:$reason in
		[1-9]*:'assertion violated'* | [1-9]*:'invalid end state'*)
			mutations_caught=$((mutations_caught + 1))
			pass "$name is caught: ${reason%% (at depth*}"
			;;
		*) fail "$name is caught" "$(tail -n 30 "$report")" ;;
		esac
	elif [ "$errors" = 0 ] && [ -z "$unreached" ] && [ "${states:-0}" -gt 0 ] &&
		! grep -Eq 'Search not completed|max search depth too small|reached -DMEMLIM' "$report"; then
		states_sum=$((states_sum + states))
		pass "$name holds: $states states"
	else
		fail "$name holds" "$(head -n 40 "$report")
$unreached
$( [ "${errors:-0}" = 0 ] || trail "${judge_dir##*/}" "$@")"
	fi
	# Only what is being explored needs its room.
	rm -rf "$judge_dir"
}

# `#` begins a comment; the rest is rows.
grep -v '^#' tests/model/rows | awk -v whole="${MODEL-}" '$1 == "quick" || whole == "whole"' >"$work/rows"
total=$(wc -l <"$work/rows")
row() {
	sed -n "$1p" "$work/rows"
}
n=0
while [ "$n" -lt $((total + JOBS)) ]; do
	n=$((n + 1))
	# shellcheck disable=SC2046 # the words of the row
	[ "$n" -le "$JOBS" ] || judge $((n - JOBS)) $(row $((n - JOBS)))
	# shellcheck disable=SC2046
	[ "$n" -gt "$total" ] || begin "$n" $(row "$n")
done
[ -z "${MODEL_COUNTS-}" ] || echo "states=$states_sum mutations_caught=$mutations_caught" >"$MODEL_COUNTS"
done_testing
