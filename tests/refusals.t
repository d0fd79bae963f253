#!/bin/sh
# Bad input gets an error that names the object, the reason and the next step, and nothing changes.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

cluster_with_images

file=$work/bad.yaml

# refused NAME REGEX: the manifest in $file is refused, and a line of the error matches REGEX.
refused() {
	run ctl plan -f "$file"
	exits 2 "$1" && like "$err" "$2" "$1: is named"
	run ctl deploy -f "$file"
	is "$code" 2 "$1: deploy refuses it too"
}

ok_manifest() {
	cat <<-END
	namespace: fine
	services:
	  web:
	    image: $image:v1
	    command: [/bin/testsvc]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [fine.test]}}]
	    stop_grace: 1s
	END
}

# spoilt SED-SCRIPT NAME REGEX: the valid manifest with one change is refused.
spoilt() {
	ok_manifest | sed "$1" >"$file"
	refused "$2" "$3"
}

# Text.
file=$work/bad.json
printf '{"namespace": "fine",\n "services": {"web" {}}}\n' >"$file"
refused 'malformed JSON' 'bad\.json:2:[0-9]+'
file=$work/bad.yaml
printf 'namespace: fine\nservices:\n  web: [\n' >"$file"
refused 'malformed YAML' 'bad\.yaml:[0-9]+:[0-9]+'
printf '' >"$file"
refused 'an empty file' 'bad\.yaml'
printf 'just words\n' >"$file"
refused 'no mapping' 'bad\.yaml'
printf '\377\376\000\001' >"$file"
refused 'bytes that are not text' 'bad\.yaml'

# Keys.
spoilt 's/image:/imgae:/' 'an unknown key' 'bad\.yaml:4:.*imgae.*image'
spoilt 's/    ports:/    prots:/' 'another' 'prots.*ports'
spoilt 's/^namespace: fine$/nothing: fine/' 'no namespace' 'namespace'
spoilt '/image:/d' 'no image' 'services\.web.*image'
spoilt 's/^    stop_grace.*/    image: again:1/' 'a key twice' 'bad\.yaml:8:.*image'

# Types and ranges.
spoilt 's/8080/"many"/' 'a port that is not a number' 'services\.web\.ports\.http\.port'
spoilt 's/8080/70000/' 'a port out of range' '70000|65535'
spoilt 's/8080/0/' 'port 0' 'port'
spoilt 's/stop_grace: 1s/replicas: -1/' 'one replica less than none' 'replicas'
spoilt 's/stop_grace: 1s/replicas: -3/' 'fewer than none' 'replicas'
spoilt 's/stop_grace: 1s/replicas: sometimes/' 'replicas in words' 'replicas.*global|global'
spoilt 's/stop_grace: 1s/stop_grace: soon/' 'a duration that is none' 'stop_grace'
spoilt 's/stop_grace: 1s/resources: {memory: lots}/' 'a size that is none' 'memory'
spoilt 's/stop_grace: 1s/placement: {spread: rack}/' 'a spread that is none' 'spread.*zone|zone'
spoilt 's/stop_grace: 1s/place: {machines: [m1]}/' 'a key that was renamed' 'services.web.place: unknown key'
spoilt 's/stop_grace: 1s/labels: {ployz.machine: m1}/' 'a label of ployz' 'ployz\.machine|labels'
spoilt 's/stop_grace: 1s/update: sideways/' 'an update order that is none' 'update.*start-first|start-first'
spoilt 's/stop_grace: 1s/env: {A: [1]}/' 'a variable that is a list' 'env'
spoilt 's/command: .*/command: run it/' 'a command that is a shell string' 'command'

# Names and references.
spoilt 's/^namespace: fine$/namespace: Not_Fine/' 'an invalid namespace' 'Not_Fine'
spoilt 's/^  web:/  -web-:/' 'an invalid service' '-web-'
spoilt "s/^  web:/  $(printf '%064d' 0 | tr 0 a):/" 'a name of 64 letters' '63'
spoilt 's/port: http, hosts/port: nothing, hosts/' 'a route to a port that is not there' 'nothing'
spoilt 's/stop_grace: 1s/depends_on: [db]/' 'depending on nobody' 'depends_on.*db|db'
spoilt 's/stop_grace: 1s/depends_on: [web]/' 'depending on itself' 'depends_on|web'
spoilt 's/hosts: \[fine.test\]/hosts: []/' 'a route of no host' 'hosts'
spoilt 's/fine.test/not a host/' 'a host that is none' 'not a host'
spoilt 's/hosts: \[fine.test\]/hosts: [fine.test], path: nowhere/' 'a path that is none' 'path'
spoilt 's/stop_grace: 1s/mounts: [{volume: data, target: \/data}]/' 'a volume that is not there' 'data'
spoilt 's/stop_grace: 1s/privileged: true/' 'privileged outside system' 'privileged'
spoilt 's/stop_grace: 1s/mounts: [{bind: \/etc, target: \/data}]/' 'a host directory outside system' 'bind|system'

# Limits: bytes, routes, slots.
{
	ok_manifest | sed 's/stop_grace: 1s/env:/'
	head -c 300000 /dev/zero | tr '\0' x | sed 's/^/      A: /'
	echo
} >"$file"
refused 'a manifest over the limit' 'limit of 262144 bytes'
routes=$(seq 1 257 | sed 's/.*/r&.test/' | paste -sd ,)
spoilt "s/hosts: \[fine.test\]/hosts: [$routes]/" 'more routes than a namespace may have' '256'
spoilt 's/stop_grace: 1s/replicas: 2001/' 'more slots than a namespace may have' 'replicas|2000|2,000'

# Usage.
run ctl
exits 2 'no verb'
run ctl dance
exits 2 'an unknown verb'
like "$err" 'dance' 'naming it'
run ctl plan
exits 2 'plan without a file'
run ctl plan -f "$work/nowhere.yaml"
exits 2 'a file that does not exist'
like "$err" 'nowhere\.yaml' 'naming it'
run ctl deploy --sideways -f "$work/bad.yaml"
exits 2 'an unknown option'
run ctl ns show nobody
exits 1 'a namespace that does not exist'
like "$err" 'nobody' 'naming it'
run ctl deploy show nothing
exits 1 'a deploy that does not exist'
run ctl logs nobody
isnt "$code" 0 'the output of a service that does not exist'
run ctl rollback nobody
exits 1 'rolling back a namespace that does not exist'
like "$err" 'nobody.*run `ployzctl ns ls`' 'naming it, and the next step'
run ctl diff nobody 1 2
exits 1 'comparing revisions of a namespace that does not exist'
run ctl deploy attach nothing
exits 1 'attaching to a deploy that does not exist'
run ctl deploy cancel nothing
exits 1 'cancelling a deploy that does not exist'
run ctl deploy sweep nobody
exits 0 'sweeping a namespace that has nothing'
run ctl store compact --keep none
exits 2 'a number that is none'
run ctl store compact
exits 2 'dropping entries without a confirmation'
run ctl store accept
exits 2 'accepting a store without a confirmation'
run ctl store accept --yes
isnt "$code" 0 'accepting a store that has lost nothing'
run ctl --dir "$work/empty" ps
exits 3 'a cluster that does not run'
run ployzctl --bus nats://127.0.0.1:1 ps
exits 3 'a bus that does not run'
like "$err" '127\.0\.0\.1:1' 'naming it'

# Nothing was changed.
is "$(containers fine)" '' 'no container was made'
run ctl ns ls
unlike "$out" 'fine' 'no namespace was made'
ok_manifest >"$work/fine.yaml"
run ctl deploy -f "$work/fine.yaml"
exits 0 'the valid manifest is deployed'
ok 'and served' answers fine.test / testsvc

# Invalid DNS packets.
malformed() {
	perl -MIO::Socket::INET -e '
		my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], Proto => "udp") or exit 1;
		send $s, pack("H*", $ARGV[1]), 0;
		$SIG{ALRM} = sub { print "silence\n"; exit };
		alarm 2;
		recv $s, my $answer, 4096, 0;
		printf "%s rcode %d\n", substr(unpack("H*", $answer), 0, 4), ord(substr $answer, 3, 1) & 15;' "$resolver" "$1"
}
is "$(malformed 12340100000100000000000003777777)" '1234 rcode 1' 'a question cut short: FORMERR'
is "$(malformed 123501000001000000000000c00c00010001)" '1235 rcode 1' 'a name that points at itself: FORMERR'
is "$(malformed 12360100ffff00000000000000)" '1236 rcode 1' 'more questions than there are: FORMERR'
is "$(malformed 1237)" silence 'two bytes: no answer'
is "$(malformed 12388180000100000000000000000000)" silence 'an answer is not answered'
dnsd=$(pid_of dnsd)
perl -MIO::Socket::INET -e '
	srand 1;
	my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], Proto => "udp") or exit 1;
	for (1 .. 3000) { send $s, join("", map { chr int rand 256 } 1 .. int rand 600), 0 }' "$resolver"
is "$(lines "$(ask web.fine.ployz.internal A)")" 1 'after 3000 packets of noise it answers'
is "$(pid_of dnsd)" "$dnsd" 'the same dnsd'

# Invalid HTTP requests.
like "$(printf 'HELLO\r\n\r\n' | curl -s --max-time 5 "telnet://$gateway")" '400' 'not HTTP: 400'
ok 'and it continues' answers fine.test / testsvc

# Preconditions of dev.
end_pid "$dev_pid" 30
mine=$gateway
start "$work/squat.log" testsvc --port "${mine#*:}" --name squatter
squatter=$started
within 5 listens "$mine"
refuses_to_start() {
	name=$1
	within 30 gone "$dev_pid"
	if gone "$dev_pid"; then
		wait "$dev_pid"
		isnt "$?" 0 "$name: dev does not start"
		like "$(cat "$work/dev.log")" "$2" "$name: is named"
	else
		fail "$name: dev does not start"
		end_pid "$dev_pid" 30
	fi
}
cluster_run
refuses_to_start 'the port of the gateway in use' "${mine#*:}"
end_pid "$squatter"
start "$work/squat.log" perl -MIO::Socket::INET -e '
	my $s = IO::Socket::INET->new(LocalAddr => $ARGV[0], Proto => "udp") or die; sleep 60' "$resolver"
squatter=$started
cluster_run
refuses_to_start 'the port of the resolver in use' "${resolver#*:}"
end_pid "$squatter"
real=$DOCKER_HOST
DOCKER_HOST=unix://$work/no-engine.sock
cluster_run
refuses_to_start 'an engine that does not answer' 'no-engine\.sock'
DOCKER_HOST=$real
mkdir -p "$work/old"
printf '#!/bin/sh\necho "nats-server: v2.9.10"\n' >"$work/old/nats-server"
chmod +x "$work/old/nats-server"
path=$PATH
PATH=$work/old:$PATH
cluster_run
refuses_to_start 'a nats-server that is too old' 'version 2\.9\.10 is too old'
# A PATH of everything but nats-server.
mkdir -p "$work/bin"
for directory in $(echo "$path" | tr : ' '); do
	for program in "$directory"/*; do
		case $program in
		*/nats-server) ;;
		*) [ ! -e "$program" ] || [ -e "$work/bin/${program##*/}" ] || ln -s "$program" "$work/bin/${program##*/}" ;;
		esac
	done
done
PATH=$work/bin
cluster_run
refuses_to_start 'no nats-server' 'nats-server'
PATH=$path
done_testing
