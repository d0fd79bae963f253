# Fixture: a directory of the test's own in $work, processes that end with the test, waiting with a
# deadline. Sourced first by every test in sh, from the top of the tree.

BUILD=$(realpath -m "${BUILD:-build}")
PATH=$BUILD/bin:$BUILD/tool:$PATH:/usr/sbin:/sbin
export PATH BUILD LC_ALL=C
work=$(mktemp -d "${TMPDIR:-/tmp}/plt.XXXXXX") || exit 1 # short: Unix sockets end at 107 bytes
endings=

# at_end COMMAND: done when the test ends, however it ends; the last one first.
at_end() {
	endings="$1
$endings"
}

fixture_end() {
	fixture_code=$?
	trap '' INT TERM HUP
	printf '%s\n' "$endings" >"$work/endings"
	while read -r ending <&9; do
		eval "$ending"
	done 9<"$work/endings" >/dev/null 2>&1
	if [ -n "${KEEP_WORK-}" ]; then
		echo "# kept: $work"
	else
		rm -rf "$work"
	fi
	exit "$fixture_code"
}
trap fixture_end EXIT
trap 'exit 130' INT TERM HUP

uptime_s() {
	read -r up _ </proc/uptime
	echo "${up%.*}"
}

# within SECONDS COMMAND…: until the command succeeds; fails when it has not by then.
within() {
	deadline=$(($(uptime_s) + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(uptime_s)" -lt "$deadline" ] || return 1
		sleep 0.1
	done
}

# A process that is there and not a zombie.
alive() {
	[ -r "/proc/$1/stat" ] && ! grep -q ') Z ' "/proc/$1/stat" 2>/dev/null
}

gone() {
	! alive "$1"
}

# end_pid PID [SECONDS]: TERM, and KILL when it is still there afterwards.
end_pid() {
	kill -TERM "$1" 2>/dev/null || return 0
	within "${2:-15}" gone "$1" || kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

# start LOG COMMAND…: in the background, ended with the test; its pid in $started.
start() {
	start_log=$1
	shift
	"$@" >"$start_log" 2>&1 </dev/null &
	started=$!
	at_end "end_pid $started"
}

free_port() {
	perl -MIO::Socket::INET -e \
		'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# The processes that PID started, directly, by the name of their program: child_of PID NAME.
child_of() {
	for stat in /proc/[0-9]*/stat; do
		read -r line <"$stat" 2>/dev/null || continue
		rest=${line##*) }
		rest=${rest#* }
		name=${line#*(}
		if [ "${rest%% *}" = "$1" ] && [ "${name%%)*}" = "$2" ]; then
			echo "${line%% *}"
		fi
	done
}

listens() {
	perl -MIO::Socket::INET -e 'exit !IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 1)' "$1"
}
