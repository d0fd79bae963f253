#!/bin/sh
# Containers that misbehave: that print bytes of every kind, or 1 GB without a line break, that exit at once for ever,
# that answer probes with 10 MB, with nothing, or with one byte a second. One service's trouble never blocks another's
# deploy: beside each, a service of another namespace is deployed and timed, and ps, status and logs go on; agentd's
# memory stays what it was, and what is printed stays bounded on the disk.
#
# Short: all of them at once. FAULTS=whole: each alone first.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

RSS_MORE_KB=16384 # agentd may hold some lines and answers more
SLOWER=5          # a deploy beside may take so many times what it took before, and a second
FLOOD_MB=1024
LOG_MAX_KB=40960  # two files of 16 MiB, and what is not cut yet

# In a build with sanitizers what was freed is kept for a while: that is not to count.
export ASAN_OPTIONS="$ASAN_OPTIONS:quarantine_size_mb=4"
cluster_with_images

rss() {
	sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$1/status"
}
ms() {
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}0"
}
service() { # service NAMESPACE PATH RESTART [ARGUMENT…]
	service_ns=$1 service_path=$2 service_restart=$3
	shift 3
	cat <<-END
	namespace: $service_ns
	services:
	  web:
	    image: $image:v1
	    command: [/bin/testsvc, --name, $service_ns$(for arg; do printf ', "%s"' "$arg"; done)]
	    restart: $service_restart
	    ports: {http: {port: 8080}}
	    ready: {http: {port: http, path: $service_path}, interval: 200ms, timeout: 1s}
	    stop_grace: 1s
	END
}
# The misbehaving ones: MANIFEST of each; those that get ready, and those that never do.
manifest_of() {
	case $1 in
	garbage) service garbage /health always --garbage ;;
	flood) service flood /health always --flood-mb $FLOOD_MB ;;
	large) service large /bytes/10485760 always ;;
	loop) service loop /health always --exit 1 ;;
	hold) service hold /health always --hold ;;
	drip) service drip /health always --drip ;;
	esac
}
READY='garbage flood large'
NEVER='loop hold drip'

# beside NAME: another namespace is deployed anew, and is not kept from it.
count=0
beside() {
	count=$((count + 1))
	service quiet /health always >"$work/quiet.yaml"
	printf '    env: {COUNT: "%s"}\n' "$count" >>"$work/quiet.yaml"
	began=$(ms)
	run timeout 60 "$BUILD/bin/ployzctl" --dir "$cluster_dir" deploy -f "$work/quiet.yaml"
	took=$(($(ms) - began))
	exits 0 "$1: a deploy of another namespace"
	diag "beside $1: $took ms"
}
sights() { # sights NAME: who looks, sees
	run timeout 10 "$BUILD/bin/ployzctl" --dir "$cluster_dir" ps
	exits 0 "$1: ps"
	like "$out" '^ *quiet ' 'shows the other one'
	run timeout 10 "$BUILD/bin/ployzctl" --dir "$cluster_dir" status
	ok 'status answers' test "$code" -le 1
}
held() { # held NAME: agentd holds no more than before
	now=$(rss "$(pid_of agentd)")
	is "$(pid_of agentd)" "$agent" "$1: agentd is the same process"
	ok "and holds no more than before (from $first kB to $now kB)" test "$now" -le $((first + RSS_MORE_KB))
}
quick() { # quick NAME: the last deploy beside was not slower than that
	ok "beside $1: in $took ms, alone $alone ms" test "$took" -le $((alone * SLOWER + 1000))
}

beside nobody
beside nobody
alone=$took
agent=$(pid_of agentd)
first=$(rss "$agent")

hand_over() { # hand_over NAME: begins its deploy
	manifest_of "$1" >"$work/$1.yaml"
	timeout 120 "$BUILD/bin/ployzctl" --dir "$cluster_dir" deploy -f "$work/$1.yaml" >"$work/$1.out" 2>&1 </dev/null &
	eval "hand_$1=$!"
	at_end "end_pid $!"
}
stands() { # stands NAME: its container was made
	[ -n "$(containers "$1")" ]
}
ended_well() { # ended_well NAME…
	for name; do
		eval "wait \$hand_$name"
		is "$?" 0 "$name: gets ready in spite of it"
	done
}
if [ "${FAULTS-}" = whole ]; then
	for name in $READY $NEVER; do
		hand_over "$name"
		ok "$name: its container is there" within 30 stands "$name"
		beside "$name"
		quick "$name"
		sights "$name"
		case " $READY " in
		*" $name "*) ended_well "$name" ;;
		*) eval "end_pid \$hand_$name" ;;
		esac
		held "$name"
	done
fi

# All at once.
for name in $READY $NEVER; do
	hand_over "$name"
done
for name in $READY $NEVER; do
	ok "$name: its container is there" within 60 stands "$name"
done
beside all
quick all
sights all
ended_well $READY

# Output: bytes of every kind are followed by somebody, and are text when they arrive; 1 GB is cut into pieces.
start "$work/follow.out" ployzctl --dir "$cluster_dir" logs -f garbage/web
follow_pid=$started
followed() {
	[ "$(wc -c <"$work/follow.out")" -gt 100000 ]
}
ok 'garbage is followed' within 20 followed
beside 'logs -f of garbage'
quick 'logs -f of garbage'
ok 'and goes on being followed' alive "$follow_pid"
end_pid "$follow_pid"
ok 'what arrives is UTF-8' iconv -f UTF-8 -t UTF-8 -o /dev/null "$work/follow.out"
run timeout 60 "$BUILD/bin/ployzctl" --dir "$cluster_dir" logs --tail 3 flood/web
ok 'the flood is shown' test "$code" -eq 0
ok 'each line of it cut' test "$(printf '%s' "$out" | awk '{ if (length($0) > n) n = length($0) } END { print n + 0 }')" -le 20000
held all

# On the disk.
log_kb() {
	log_path=$(engine_api GET "/containers/$(containers flood | head -n 1)/json" | grep -o '"LogPath":"[^"]*"' | cut -d '"' -f 4)
	du -ck "$log_path"* | tail -n 1 | cut -f 1
}
isnt "$(log_kb)" 0 'the flood is on the disk'
ok "bounded: $(log_kb) kB" test "$(log_kb)" -le $LOG_MAX_KB

# Those that never get ready fail, each for its reason, and nothing else.
for name in $NEVER; do
	eval "end_pid \$hand_$name"
	unlike "$(cat "$work/$name.out")" 'committed revision' "$name: never committed"
done
beside 'the rest'
quick 'the rest'
held 'at the end'
done_testing
