# TAP for tests in sh: what was expected stands beside what was seen, and the plan comes last.
# Sourced; see tests/lib/fixture.sh for what a test runs on.

tap_count=0
tap_failed=0
code=0 out='' err=''

diag() {
	printf '%s\n' "$*" | sed 's/^/#   /'
}

tap_result() {
	tap_count=$((tap_count + 1))
	if [ "$1" -eq 0 ]; then
		printf 'ok %d - %s\n' "$tap_count" "$2"
	else
		tap_failed=$((tap_failed + 1))
		printf 'not ok %d - %s\n' "$tap_count" "$2"
	fi
	return "$1"
}

# ok NAME COMMAND…: the command succeeds. What it said is shown when it does not.
ok() {
	tap_name=$1
	shift
	if tap_said=$("$@" 2>&1); then
		tap_result 0 "$tap_name"
	else
		tap_result 1 "$tap_name"
		diag "failed: $*"
		diag "$tap_said"
		return 1
	fi
}

pass() {
	tap_result 0 "$1"
}

# fail NAME [WHY…]
fail() {
	tap_result 1 "$1"
	shift
	[ $# -eq 0 ] || diag "$*"
	return 1
}

# is GOT EXPECTED NAME
is() {
	if [ "$1" = "$2" ]; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "got:      $1"
		diag "expected: $2"
		return 1
	fi
}

isnt() {
	if [ "$1" != "$2" ]; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "got what it must not be: $1"
		return 1
	fi
}

# like TEXT REGEX NAME: an extended regular expression, one line of the text matches it.
like() {
	if printf '%s\n' "$1" | grep -Eq -e "$2"; then
		tap_result 0 "$3"
	else
		tap_result 1 "$3"
		diag "no line matches: $2"
		diag "$1"
		return 1
	fi
}

unlike() {
	if printf '%s\n' "$1" | grep -Eq -e "$2"; then
		tap_result 1 "$3"
		diag "a line matches: $2"
		diag "$1"
		return 1
	fi
	tap_result 0 "$3"
}

# run COMMAND…: leaves its exit code in $code, its output in $out and $err.
run() {
	"$@" >"$work/run.out" 2>"$work/run.err" </dev/null
	code=$?
	out=$(cat "$work/run.out")
	err=$(cat "$work/run.err")
	ran="$*"
}

# exits CODE NAME: how the last `run` ended. Shows all that it said when that is wrong.
exits() {
	if [ "$code" -eq "$1" ]; then
		tap_result 0 "$2"
	else
		tap_result 1 "$2"
		diag "\$ $ran"
		diag "exit $code, expected $1"
		diag "$out"
		diag "$err"
		return 1
	fi
}

# skip NAME REASON
skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

skip_all() {
	printf '1..0 # SKIP %s\n' "$1"
	exit 0
}

bail() {
	printf 'Bail out! %s\n' "$1"
	exit 1
}

done_testing() {
	printf '1..%d\n' "$tap_count"
	[ "$tap_failed" -eq 0 ]
	exit
}
