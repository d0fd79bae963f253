# Fixture: a directory of the test's own in $work, processes that end with the test, waiting with a
# deadline. Sourced first by every test in sh, from the top of the tree.

BUILD=$(realpath -m "${BUILD:-build}")
PATH=$BUILD/bin:$BUILD/tool:$PATH:/usr/sbin:/sbin
export PATH BUILD LC_ALL=C
work=
endings=
told_words=

# at_end COMMAND: done when the test ends, however it ends; the last one first.
at_end() {
	endings="$1
$endings"
}

fixture_end() {
	fixture_code=$?
	trap '' INT TERM HUP
	while read -r ending <&9; do
		eval "$ending"
	done 9<<-END >/dev/null 2>&1
	$endings
	END
	sanitizers_said && [ "$fixture_code" -eq 0 ] && fixture_code=1
	if [ -n "${KEEP_WORK-}" ]; then
		echo "# kept: $work"
	elif [ -n "$work" ]; then
		rm -rf "$work"
	fi
	exit "$fixture_code"
}

# The first signal begins the end; none disturbs it. $told_words are said then, when there are any.
fixture_told() {
	trap '' INT TERM HUP
	[ -z "$told_words" ] || printf '\n%s\n' "$told_words" >&2
	exit 130
}

# Between these two a signal is only remembered: what is begun there, its end has to know.
signals_hold() {
	signalled=
	trap 'signalled=yes' INT TERM HUP
}

signals_take() {
	trap fixture_told INT TERM HUP
	[ -z "$signalled" ] || fixture_told
}

trap fixture_end EXIT
trap fixture_told INT TERM HUP
# Short: Unix sockets end at 107 bytes. A ^C reaches the whole foreground: mktemp is not to make and die.
work=$(trap '' INT TERM HUP; mktemp -d "${TMPDIR:-/tmp}/plt.XXXXXX") || exit 1

# Programs that are built with sanitizers write what they find there, each into a file of its own. A test fails for
# it, whichever program it was: most are ended without anybody looking how.
for sanitizer in ASAN LSAN UBSAN TSAN; do
	eval "${sanitizer}_OPTIONS=\${${sanitizer}_OPTIONS:+\$${sanitizer}_OPTIONS:}log_path=$work/sanitizer"
done
ASAN_OPTIONS=$ASAN_OPTIONS:handle_sigill=1
LSAN_OPTIONS=$LSAN_OPTIONS:suppressions=$PWD/tests/lib/libnats.lsan:print_suppressions=0
# Each of the tools would stay a second longer than it has work, to see more: what is to be seen is in the daemons.
TSAN_OPTIONS=$TSAN_OPTIONS:atexit_sleep_ms=0
export ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS

sanitizers_said() {
	sanitizer_said=1
	for report in "$work"/sanitizer.*; do
		# Of a thread that ended while leaks were looked for: it holds nothing any more.
		grep -sqv 'Unable to get registers from thread' "$report" || continue
		sanitizer_said=0
		sed 's/^/# /' "$report"
	done
	return $sanitizer_said
}

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

# A process of which a thread is there that is no zombie: the first may be one while others still hold its files.
alive() {
	grep -qsv ') [ZX] ' "/proc/$1/task/"*/stat
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

# born PID: when it began, in the kernel's own count. With that, a pid is nobody else's.
born() {
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return
	# shellcheck disable=SC2086 # the words of the line
	set -- ${line##*) }
	echo "${20}"
}

# end_born PID BORN [SECONDS]: end_pid, unless it has ended long ago and its pid is another's.
end_born() {
	[ -z "$2" ] || [ "$(born "$1")" != "$2" ] || end_pid "$1" ${3-}
}

# end_later PID: with the test.
end_later() {
	at_end "end_born $1 '$(born "$1")' ${start_patience-}"
}

# start LOG COMMAND…: in the background, ended with the test; its pid in $started.
start() {
	start_log=$1
	shift
	signals_hold
	# Here and now: who looks for a word in it must not find an earlier program's.
	: >"$start_log"
	"$@" >"$start_log" 2>&1 </dev/null &
	started=$!
	end_later $started
	signals_take
}

# A port that nobody listens at, below those that connections take for themselves: where a server is gone for a
# moment, none of its clients has its port when it comes back. A test gets each port once.
free_port() {
	perl -MIO::Socket::INET -e '
		my %at = (LocalAddr => "127.0.0.1");
		my %given;
		if (open my $ports, "<", $ARGV[0]) {
			chomp, $given{$_} = 1 while <$ports>;
		}
		for (1 .. 1000) {
			$at{LocalPort} = 10240 + int rand 22528;
			next if $given{$at{LocalPort}};
			my $tcp = IO::Socket::INET->new(%at, Listen => 1) or next;
			IO::Socket::INET->new(%at, Proto => "udp") or next;
			open my $ports, ">>", $ARGV[0] or die "$ARGV[0]: $!\n";
			print $ports "$at{LocalPort}\n";
			print $at{LocalPort};
			exit;
		}
		die "no free port\n"' "$work/ports"
}

# The processes that PID started, directly, by the name of their program: child_of PID NAME.
child_of() {
	for stat in /proc/[0-9]*/stat; do
		# It may be gone by now.
		{ read -r line <"$stat"; } 2>/dev/null || continue
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
