#!/bin/sh
# ^C on a terminal, at many moments of `ployzctl dev`, `make demo` and `make check`: everything ends, and nothing is
# left behind: no process, link, route, rule, mount, socket, file, container, network or image.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/apart.sh
apart "$0"

before=$work/before after=$work/after said=$work/said
dir=$work/dev

# One line for each thing that exists: processes except this one, and what the kernel and the engine list.
processes() {
	own=$(tr '\0' ' ' </proc/$$/cmdline)
	for process in /proc/[0-9]*; do
		alive "${process#/proc/}" || continue
		command=$(tr '\0' ' ' <"$process/cmdline" 2>/dev/null)
		case $command in
		'' | "$own") ;;
		*) echo "process $command" ;;
		esac
	done
}

engine_things() {
	[ -n "${DOCKER_HOST-}" ] || return 0
	for list in 'containers/json?all=1' networks images/json volumes; do
		engine_api GET "/$list" | grep -o '"Id":"[^"]*"\|"Name":"[^"]*"' | sed "s,^,engine $list ,"
	done
}

things() {
	processes
	ip -o link | cut -d : -f 2 | sed 's/^/link/'
	ip route show table all | sed 's/^/route /'
	nft list ruleset | sed 's/^/rule /'
	cut -d ' ' -f 5 /proc/self/mountinfo | sed 's/^/mount /'
	sed 's/^[^/@]*/socket /' /proc/net/unix | grep '[/@]'
	awk '$4 == "0A" || $4 == "07" {print "port", FILENAME, $2}' /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6
	find /run "$ENGINE_TMPDIR" "$TMPDIR" -path "$work" -prune -o -path '*/plt-engine.*' -prune -o -print | sed 's/^/file /'
	engine_things
}

settled() {
	things | sort -u >"$after"
	[ -z "$(comm -13 "$before" "$after")" ]
}

note_things() {
	things | sort -u >"$before"
}

# nothing_left NAME: within the time that processes need to end, nothing exists that did not exist before.
nothing_left() {
	if within 10 settled; then
		pass "$1: nothing is left"
	else
		fail "$1: nothing is left" "$(comm -13 "$before" "$after")
$(tail -n 30 "$said")"
		note_things
	fi
}

# typed NAME: the terminal typed ^C before the command had ended.
typed() {
	like "$(cat "$said")" '^terminal: typing' "$1: interrupted" || diag "$(tail -n 30 "$said")"
	nothing_left "$1"
}

# interrupted NAME REGEX COMMAND…: ^C as soon as the terminal shows REGEX; `ends` checks the exit code afterwards.
interrupted() {
	name=$1 moment=$2
	shift 2
	timeout -k 5 90 terminal -i "$moment" "$@" >"$said" 2>&1 </dev/null
	code=$?
	typed "$name"
}

# interrupted_when NAME CONDITION COMMAND…: the same as soon as the condition is met.
interrupted_when() {
	name=$1 condition=$2
	shift 2
	start "$said" terminal "$@"
	ok "$name: the moment comes" within 60 "$condition"
	kill -USR1 "$started"
	within 60 gone "$started"
	wait "$started"
	code=$?
	typed "$name"
}

# interrupted_after NAME MILLISECONDS COMMAND…: at that time, whatever the command does.
interrupted_after() {
	name="$1, after $2 ms" moment=$2
	shift 2
	timeout -k 5 90 terminal -t "$moment" "$@" >"$said" 2>&1 </dev/null
	code=$?
	nothing_left "$name"
}

ends() {
	is "$code" "$1" "$name: exit code" || diag "$(tail -n 15 "$said")"
}

# shellcheck disable=SC2086 # $make is two words
# The variables of the make that runs this test are not for the makes below.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
make="make --no-print-directory BUILD=$BUILD"
# Another demo that runs in this tree is not touched.
DEMO_KEPT=$work/kept
export DEMO_KEPT

engine_begins() {
	ls "$ENGINE_TMPDIR"/plt-engine.*/log
}

store_runs() {
	ls "$TMPDIR"/plt.*/dev/run/store.pid
}

context_is_gone() {
	! ls "$TMPDIR"/plt.*/dev/run/operator.conf
}

# The files that dev keeps for its next start are removed after each run.
dev() {
	how=$1
	shift
	$how "$@" --dir "$dir"
	rm -rf "$dir"
}

# --- ployzctl dev, with an engine of its own
note_things
dev interrupted 'dev starts its engine' 'starting dockerd' ployzctl dev
ends 1
dev interrupted 'dev, ready, with its engine' 'ready in' ployzctl dev
ends 0
dev interrupted 'dev --demo in its deploy' 'created on' ployzctl dev --demo
ends 0
for ms in 50 200 350 500 650 800; do
	dev interrupted_after 'dev, with its engine' $ms ployzctl dev
done
timeout -k 5 90 terminal -i 'ready in' -i ' ending' ployzctl dev --dir "$dir" >"$said" 2>&1 </dev/null
nothing_left 'dev, two signals'
rm -rf "$dir"
interrupted_when 'make demo starts its engine' engine_begins $make demo

# --- ployzctl dev, with an engine that runs already
engine_start || bail "$engine_reason"
mkdir -p /run/containerd/s # the engine makes it for its first container
note_things
for moment in 'prepare +meshd' 'created PLOYZ_STATUS' 'claimed subnet' 'meshd +ready' 'agentd +ready' 'ready in' \
	'containers. network'; do
	dev interrupted "dev at '$moment'" "$moment" ployzctl dev
done
for ms in 20 40 60 80 100 120 140 160 180 200 240 300; do
	dev interrupted_after dev $ms ployzctl dev
done

# --- make demo
for moment in '1  An engine' '2  The cluster' '4  The deploy' 'created on' 'committing' 'ployzctl status' '8  Again' \
	'replace on' 'draining on' 'Ending everything'; do
	interrupted "make demo at '$moment'" "$moment" $make demo
	isnt "$code" 0 "make demo at '$moment': exit code"
done
interrupted_when 'make demo, while its cluster starts' store_runs $make demo

# --- make demo KEEP=1, which stays, and make demo-end
timeout -k 5 90 terminal $make demo KEEP=1 >"$said" 2>&1 </dev/null
is "$?" 0 'make demo KEEP=1'
ok 'leaves its cluster running' store_runs
start "$said" terminal $make demo-end
within 30 context_is_gone
kill -USR1 "$started"
within 60 gone "$started"
run $make demo-end
exits 0 'make demo-end, after one that was interrupted'
nothing_left 'make demo-end'
run $make demo-end
like "$out" 'No demo' 'once more: none runs'

# --- make check
interrupted 'make check' 'agentd-container' $make check
interrupted_when 'a test of a whole cluster' store_runs tests/run tests/e2e-dev.t
done_testing
