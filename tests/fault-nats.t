#!/bin/sh
# The nats-servers of Debian's releases (tests/setup/nats-servers): the oldest that is good enough and the newest that is
# packaged both carry a cluster through the death of its servers; one that is too old is refused in one sentence.
#
# Short: the newest, end to end, and the tests of the bus with it. FAULTS=whole: all of them, and what leased and meshd
# stand on too.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

OLDEST=2.10
plain_path=$PATH

versions() {
	for server in "$BUILD"/nats/*/nats-server; do
		[ -x "$server" ] && basename "$(dirname "$server")"
	done | sort -V
}
too_old=$(versions | while read -r v; do dpkg --compare-versions "$v" ge $OLDEST || echo "$v"; done)
good=$(versions | while read -r v; do dpkg --compare-versions "$v" ge $OLDEST && echo "$v"; done)
isnt "$too_old" '' 'there is one that is too old (tests/setup/nats-servers build/nats fetches it)'
[ "$(echo "$good" | grep -c .)" -ge 2 ] || bail "tests/setup/nats-servers $BUILD/nats has not fetched two good ones: '$good'"
newest=$(echo "$good" | tail -n 1)
diag "too old: $too_old; good: $(echo "$good" | tr '\n' ' ')"

# What a server says of itself when somebody connects.
version_at() {
	perl -MIO::Socket::INET -e '
		my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], Timeout => 2) or exit 1;
		print $1 if <$s> =~ /"version":"([^"]*)"/' "$1"
}

# --- too old

PATH=$BUILD/nats/$too_old:$plain_path
run ployzctl dev --dir "$work/old"
exits 1 "nats-server $too_old: dev is refused"
is "$out" '' 'nothing was started'
is "$(printf '%s\n' "$err" | grep -c .)" 1 'in one line'
like "$err" "^ployzctl: cannot use .*/nats-server: version $too_old is too old, acknowledged writes would not be on disk; install nats-server 2\.10 or newer" 'with the reason and the next step'
ok 'nothing was made' test ! -e "$work/old"
run meshd --prepare --credentials "$work/old-etc" --run "$work/old-run" --state "$work/old-state"
exits 1 'meshd prepares nothing for it'
is "$(printf '%s\n' "$err" | grep -c .)" 1 'in one sentence'
like "$err" "version $too_old is too old.*; install nats-server 2\.10 or newer" 'with its cure'
port=$(free_port)
start "$work/old.log" nats-server -a 127.0.0.1 -p "$port"
old_pid=$started
ok 'one that runs all the same' within 10 listens "127.0.0.1:$port"
is "$(version_at "127.0.0.1:$port")" "$too_old" 'and is the old one'
for daemon in meshd leased agentd; do
	run timeout 20 "$daemon" --config "$work/none.conf" --bus "nats://127.0.0.1:$port" --machine m1 \
		--credentials "$work/old-etc" --state "$work/old-$daemon" --run "$work/old-run"
	exits 1 "$daemon does not run on it"
	is "$(printf '%s\n' "$err" | grep -c .)" 1 'in one sentence'
	like "$err" "nats-server $too_old .* is too old.*install nats-server 2\.10 or newer" 'with its cure'
done
end_pid "$old_pid"
PATH=$plain_path

# --- good: the tests of what stands on it

unit_tests() {
	if [ "${FAULTS-}" = whole ]; then
		echo bus leased meshd
	else
		echo bus
	fi
}

# with VERSION COMMAND…
with() {
	(
		PATH=$BUILD/nats/$1:$plain_path
		shift
		exec "$@"
	)
}

if [ "${FAULTS-}" = whole ]; then
	chosen=$good
else
	chosen=$newest
fi
for version in $chosen; do
	for unit in $(unit_tests); do
		ok "$version: tests/$unit.t" with "$version" sh "tests/$unit.t"
	done
done

# --- good: end to end

engine_start || bail "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
at_end "engine_image_rm $image:v1"

web() { # web NAME [ARGUMENT…]
	web_name=$1
	shift
	cat <<-END
	namespace: nats
	services:
	  web:
	    image: $image:v1
	    replicas: 2
	    command: [/bin/testsvc, --name, $web_name$(for arg; do printf ', "%s"' "$arg"; done)]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [nats.test]}}]
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 2s
	END
}

end_to_end() { # end_to_end VERSION
	PATH=$BUILD/nats/$1:$plain_path
	cluster_dir=$work/dev-$1
	cluster_start
	PATH=$plain_path
	is "$(version_at "127.0.0.1:$bus_port")" "$1" "$1: the cluster runs on it"
	like "$(readlink "/proc/$(pid_of store)/exe")" "/nats/$1/nats-server\$" 'its store too'
	web one >"$work/next.yaml"
	run ctl deploy -f "$work/next.yaml"
	exits 0 'a deploy'
	is "$(get nats.test / | head -n 1)" one 'is in effect'
	ok 'names are answered' within 10 both_have_names nats
	for name in bus store; do
		before=$(containers nats)
		load_start nats.test /
		web "mid-$name" --start-after 2000 >"$work/next.yaml"
		ctl deploy -f "$work/next.yaml" >"$work/mid.out" 2>&1 </dev/null &
		hand=$!
		end_later $hand
		ok "a deploy in which the $name will die" within 20 candidates_start
		old=$(pid_of "$name")
		kill -KILL "$old"
		ok "the $name is killed and there again" within 30 restarted "$name" "$old"
		wait "$hand"
		mid=$?
		case $mid in
		0 | 7) is "$(get nats.test / | head -n 1)" "mid-$name" "it said done ($mid), and is" ;;
		*) is "$(containers nats)" "$before" "it said $mid, and the old ones serve" ;;
		esac
		ok 'the store answers' within 15 store_answers
		web "after-$name" >"$work/next.yaml"
		run ctl deploy -f "$work/next.yaml"
		exits 0 "the deploy after the $name"
		load_end
		load_was_clean 'traffic went on'
		is "$(get nats.test / | head -n 1)" "after-$name" 'and the new one serves'
		is "$(lines "$(containers nats)")" 2 'two containers, no more'
	done
	run ctl status
	exits 0 'all is as it should be'
	end_pid "$dev_pid" 30
}
for version in $chosen; do
	end_to_end "$version"
done
done_testing
