# leased alone: against real nats-servers and a real placerd, the other daemons are tests/tool/neighbours.
# Sourced after fixture.sh and bus.sh; leased_world starts the two servers with the streams, machine_start a machine
# without its leased.

bus=$BUILD/tool/bus

ask() { # ask MACHINE VERB JSON
	"$bus" "$bus_url" request "ployz.v1.$1.leased.$2" "$3"
}

deploy() { # deploy MACHINE ID IMAGE [NAMESPACE]
	ask "$1" deploy "{\"deploy\":\"$2\",\"operator\":\"$2@desk\",\"yes\":true,\"manifest\":{\"namespace\":\"${4-shop}\",\"services\":{\"web\":{\"image\":\"$3\",\"replicas\":2}}}}"
}

phase() { # phase ID
	"$bus" "$bus_url" last PLOYZ_STATUS "ployz.v1.status.deploy.*.$1" 2>/dev/null | sed 's/.*"changed".*//; s/^{[^[]*"phase":"\([a-z_]*\)".*/\1/'
}

record() { # record MACHINE ID
	ask "$1" attach "{\"deploy\":\"$2\"}"
}

ended() { # ended MACHINE ID PHASE
	record "$1" "$2" | grep -q "\"epoch\":[0-9]*,\"phase\":\"$3\""
}

head_of() {
	"$bus" "$bus_url" last PLOYZ_INTENT "ployz.v1.intent.namespace.${1-shop}"
}

leased_start() { # leased_start MACHINE [BUS]: sets leased_MACHINE to its pid
	mkdir -p "$work/etc"
	start "$work/leased-$1.log" "$BUILD/bin/leased" --config "$work/none.conf" --bus "${2-$bus_url}" --machine "$1" \
		--credentials "$work/etc" --state "$work/leased-$1"
	eval "leased_$1=$started"
	within 10 grep -q 'leased: ready' "$work/leased-$1.log"
}

machine_start() { # the record, placerd and the neighbours of a machine
	"$bus" "$bus_url" append "ployz.v1.intent.member.$1" \
		"{\"id\":\"$1\",\"name\":\"$1\",\"region\":\"default\",\"zone\":\"$1\",\"life_cycle\":\"active\",\"subnet\":\"10.101.1.0/24\"}" any >"$work/out"
	start "$work/placerd-$1.log" "$BUILD/bin/placerd" --config "$work/none.conf" --bus "$bus_url" --machine "$1" \
		--credentials "$work/etc" --state "$work/placerd-$1"
	within 10 grep -q 'placerd: ready' "$work/placerd-$1.log"
	start "$work/neighbours-$1.log" "$BUILD/tool/neighbours" "$bus_url" "$1"
	within 10 grep -q ready "$work/neighbours-$1.log"
}

leased_world() {
	bus_start || bail 'the two servers did not start'
	streams_make
}

# --- what the log holds

# entries SUBJECT: how many.
entries() {
	"$bus" "$bus_url" request '$JS.ployz.API.STREAM.INFO.PLOYZ_INTENT' "{\"subjects_filter\":\"$1\"}" |
		sed -n 's/.*"subjects":{"[^"]*":\([0-9]*\)}.*/\1/p'
}

lease_of() {
	"$bus" "$bus_url" request '$JS.ployz.API.STREAM.MSG.GET.KV_PLOYZ_LEASES' "{\"last_by_subj\":\"\$KV.PLOYZ_LEASES.$1\"}" |
		sed -n 's/.*"data":"\([^"]*\)".*/\1/p' | base64 -d
}

# --- a relay between a machine's leased and the bus: tests/lib/relay-nats.pl

# relay_start MACHINE: sets $relay_url.
relay_start() {
	relay_port=$(free_port)
	relay_url=nats://127.0.0.1:$relay_port
	mkfifo "$work/tell-$1"
	# Both ways: it neither waits for the other end nor sees the end of it.
	start "$work/relay-$1.log" sh -c 'exec perl tests/lib/relay-nats.pl "$1" "$2" <>"$3"' sh "$relay_port" "$bus_port" \
		"$work/tell-$1"
	within 5 grep -q ready "$work/relay-$1.log" || bail "no relay: $(cat "$work/relay-$1.log")"
}

tell() { # tell MACHINE WORDS…
	tell_to=$work/tell-$1
	shift
	printf '%s\n' "$*" >"$tell_to"
}

said() { # said MACHINE WHAT SUBJECT
	grep -Fqx -e "$2 $3" "$work/relay-$1.log"
}

# The writes of a deploy: which request each is, as a pattern for the relay, and where it goes.
HEAD=ployz.v1.intent.namespace
LEASE='$JS.ployz.API.$KV.PLOYZ_LEASES'

pattern() { # pattern WRITE NAMESPACE
	case $1 in
	lease | renewal) printf '^\\%s\\.%s .*"state":"held"' '$JS\.ployz\.API\.\$KV\.PLOYZ_LEASES' "$2" ;;
	release) printf '^\\%s\\.%s .*"state":"free"' '$JS\.ployz\.API\.\$KV\.PLOYZ_LEASES' "$2" ;;
	opening) printf '^ployz\.v1\.intent\.namespace\.%s .*"open":' "$2" ;;
	commit) printf '^ployz\.v1\.intent\.namespace\.%s (?!.*"open":)' "$2" ;;
	closing) printf '^ployz\.v1\.intent\.namespace\.%s .*"outcome":' "$2" ;;
	esac
}

subject() { # subject WRITE NAMESPACE
	case $1 in
	lease | renewal | release) echo "$LEASE.$2" ;;
	*) echo "$HEAD.$2" ;;
	esac
}
