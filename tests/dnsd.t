#!/bin/sh
# dnsd with real servers, queried by kdig and dig. The test runs in a network namespace of its own, so that
# containers' addresses exist without containers.

if [ -z "${DNSD_NETNS-}" ]; then
	if ! DNSD_NETNS=1 unshare --net true 2>/dev/null; then
		echo '1..0 # SKIP cannot create a network namespace'
		exit 0
	fi
	DNSD_NETNS=1 exec unshare --net sh "$0" "$@"
fi
. tests/lib/fixture.sh
. tests/lib/tap.sh
. tests/lib/bus.sh

ip link set lo up
for number in 1 10 11 20 40 41 42 43 44 99; do
	ip addr add "10.101.7.$number/32" dev lo
done
ip addr add 192.0.2.77/32 dev lo

bus_start || bail 'no servers'
streams_make || bail 'no streams'
mirrors_make || bail 'no local mirrors'

# intent NAME JSON, facts MACHINE NS JSON…: appended to the store; the sequence.
intent() {
	bus "$bus_url" append "ployz.v1.intent.$1" "$2" any
}

facts() {
	facts_subject=$1.$2
	facts_body=$(printf '{"machine":"%s","namespace":"%s","instances":[' "$1" "$2")
	shift 2
	facts_body=$facts_body$(IFS=,; echo "$*")]}
	bus "$bus_url" append "ployz.v1.facts.$facts_subject" "$facts_body" any
}

# slot NS SERVICE SLOT ADDRESS: of deploy a, in a head.
slot() {
	printf '{"slot":%s,"instance":"%s-%s-%s-a","machine":"m1","address":"%s","deploy":"a","hash":"h"}' \
		"$3" "$1" "$2" "$3" "$4"
}

# head NS REVISION DEPLOY: web with two slots and a port, idle with one slot that no fact calls ready.
head_of() {
	printf '{"namespace":"%s","revision":%s,"deploy":"%s","verb":"deploy","operator":"me","from":"m1",
	"at":"2026-01-01T00:00:00.000Z","writer":"%s","epoch":1,"generation":1,"nonce":"n%s","hash":"h","services":[
	{"name":"web","digest":"d","ports":{"http":{"port":8080}},"slots":[%s,%s]},
	{"name":"idle","digest":"d","slots":[%s]}]}' "$1" "$2" "$3" "$3" "$2" "$(slot "$1" web 0 10.101.7.10)" \
		"$(slot "$1" web 1 10.101.7.20)" "$(slot "$1" idle 0 10.101.7.30)"
}

# fact NS SERVICE SLOT DEPLOY STATE ADDRESS
fact() {
	printf '{"id":"%s-%s-%s-%s","namespace":"%s","service":"%s","slot":%s,"deploy":"%s","epoch":1,"state":"%s",
		"address":"%s","ports":{"sql":{"port":5432}},"image":"x","hash":"h","since":"2026-01-01T00:00:00.000Z"}' \
		"$1" "$2" "$3" "$4" "$1" "$2" "$3" "$4" "$5" "$6"
}

cat >"$work/upstream.pl" <<'END'
use IO::Socket::INET; use IO::Select;
my $port = shift; $| = 1;
my $udp = IO::Socket::INET->new(Proto => 'udp', LocalAddr => "127.0.0.1:$port") or die;
my $tcp = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => "127.0.0.1:$port", Listen => 9, ReuseAddr => 1) or die;
sub answer {
	my ($q, $flags, $address) = @_;
	my $end = index($q, "\0", 12) + 5;
	my $n = $address ? 1 : 0;
	return substr($q, 0, 2) . pack('n5', $flags, 1, $n, 0, 0) . substr($q, 12, $end - 12) .
		($n ? pack('nnnNnC4', 0xc00c, 1, 1, 60, 4, split /\./, $address) : '');
}
for (;;) { for my $s (IO::Select->new($udp, $tcp)->can_read) {
	if ($s == $udp) {
		$udp->recv(my $q, 4096);
		next if $q =~ /silent/;
		if ($q =~ /wrong/) { my $w = $q; substr($w, 0, 1) ^= "\x55"; $udp->send(answer($w, 0x8180, '192.0.2.66')) }
		$udp->send($q =~ /big/ ? answer($q, 0x8380) : answer($q, 0x8180, '192.0.2.1'));
	} else {
		my $c = $tcp->accept; $c->read(my $l, 2); $c->read(my $q, unpack('n', $l));
		my $a = answer($q, 0x8180, '192.0.2.2'); print $c pack('n', length $a) . $a; close $c;
	}
} }
END

upstream=$(free_port)
port=$(free_port)
start "$work/upstream.log" perl "$work/upstream.pl" "$upstream"
member() {
	intent "member.$1" '{"id":"'"$1"'","name":"'"$1"'","subnet":"'"$2"'","region":"default","zone":"a",
		"life_cycle":"'"$3"'"}'
}
member m1 10.101.7.0/24 active >/dev/null || bail 'no member record'
intent namespace.shop "$(head_of shop 1 a)" >/dev/null
intent namespace.blog "$(head_of blog 4 b)" >/dev/null
facts m1 shop "$(fact shop web 0 a ready 10.101.7.10)" "$(fact shop web 1 a ready 10.101.7.20)" >/dev/null

# dnsd_start [STATE]
dnsd_start() {
	start "$work/dnsd.log" dnsd --config /dev/null --bus "$bus_url" --machine m1 --credentials "$work" \
		--state "${1:-$work/dnsd}" --run "$work" --dns-listen "127.0.0.1:$port" --forward "127.0.0.1:$upstream"
	dnsd_pid=$started
}
dnsd_start
listens_on_bridge() {
	within 20 grep -q 'listening on 10.101.7.1:53' "$work/dnsd.log" || diag "$(cat "$work/dnsd.log")"
}
listens_on_bridge

# From the operator's loopback, and from a container's address.
loop() {
	dig "@127.0.0.1" -p "$port" +tries=1 +time=8 "$@"
}
from() {
	dig -b "$1" @10.101.7.1 +tries=1 +time=3 "$2" "$3" $4
}
short() {
	"$@" +short | sort | tr '\n' ' '
}
status() {
	"$@" | sed -n 's/.*status: \([A-Z]*\).*/\1/p'
}

is "$(short loop web.shop.ployz.internal A)" '10.101.7.10 10.101.7.20 ' 'both replicas, from every client'
is "$(short loop WEB.Shop.PLOYZ.internal A)" '10.101.7.10 10.101.7.20 ' 'in any case'
is "$(short loop +tcp web.shop.ployz.internal A)" '10.101.7.10 10.101.7.20 ' 'over TCP'
is "$(short loop 1.web.shop.ployz.internal A)" '10.101.7.20 ' 'one replica'
is "$(short from 10.101.7.10 web A)" '10.101.7.10 10.101.7.20 ' 'a single label: a service of the own namespace'
is "$(short from 10.101.7.10 web.ployz.internal A)" '10.101.7.10 10.101.7.20 ' 'the same name in the zone'
is "$(short from 10.101.7.10 0.web.ployz.internal A)" '10.101.7.10 ' 'a slot in the own namespace'
is "$(status loop web A)" NXDOMAIN 'a client without a namespace has no single labels'
is "$(status from 10.101.7.99 web A)" NXDOMAIN 'an address without an instance has no namespace'
ms() {
	date +%s%3N
}
before=$(ms)
is "$(status from 10.101.7.99 web A)" NXDOMAIN 'nor has it for the second query'
ok 'which is answered at once' test $(($(ms) - before)) -lt 500
is "$(status dig -b 192.0.2.77 @10.101.7.1 +tries=1 +time=3 web.shop.ployz.internal)" REFUSED 'strangers are refused'
is "$(status loop nix.shop.ployz.internal A)" NXDOMAIN 'no such service'
is "$(status loop idle.shop.ployz.internal A)" NOERROR 'a service without a ready instance exists'
is "$(short loop idle.shop.ployz.internal A)" '' 'without an address'
like "$(loop idle.shop.ployz.internal A)" 'AUTHORITY: 1' 'with an SOA'
is "$(short loop web.shop.ployz.internal AAAA)" '' 'no IPv6 address'
is "$(status loop web.shop.ployz.internal AAAA)" NOERROR 'is not an error'
is "$(short loop _http._tcp.web.shop.ployz.internal SRV)" \
	'0 1 8080 0.web.shop.ployz.internal. 0 1 8080 1.web.shop.ployz.internal. ' 'SRV'
like "$(loop _http._tcp.web.shop.ployz.internal SRV)" '^0.web.shop.ployz.internal.*A.*10.101.7.10' 'with addresses'
is "$(status loop _http._udp.web.shop.ployz.internal SRV)" NXDOMAIN 'no such port'
is "$(loop +short web.shop.ployz.internal TXT)" '"deploy=a" "revision=1" "ready=2/2"' 'TXT'
is "$(loop +short -x 10.101.7.20)" '1.web.shop.ployz.internal.' 'a reverse name'
is "$(status loop ployz.internal SOA)" NOERROR 'the apex'
is "$(loop +short ployz.internal NS)" 'ployz.internal.' 'its NS'
is "$(loop +short web.shop.ployz.internal ANY)" '"RFC8482" ""' 'ANY: one HINFO record'
is "$(status loop version.bind TXT CH)" REFUSED 'another class'
is "$(status loop +opcode=NOTIFY web.shop.ployz.internal SOA)" NOTIMP 'another opcode'
is "$(status loop +edns=1 +noednsnegotiation web.shop.ployz.internal)" BADVERS 'another EDNS'
firsts=$(for i in 1 2 3 4; do loop +short web.shop.ployz.internal A | head -n 1; done | sort -u | grep -c .)
is "$firsts" 2 'the order rotates'

is "$(loop +short good.example A)" 192.0.2.1 'another zone is forwarded'
is "$(loop +short +tcp good.example A)" 192.0.2.2 'over TCP for a client that uses TCP'
is "$(loop +short big.example A)" 192.0.2.2 'over TCP after a truncated answer'
is "$(loop +short wrong.example A)" 192.0.2.1 'an answer with another id is ignored'
is "$(status loop silent.example A)" SERVFAIL 'an upstream that does not answer'
like "$(kdig @127.0.0.1 -p "$port" +keepopen +tcp web.shop.ployz.internal 0.web.shop.ployz.internal +short)" \
	'10.101.7.10' 'several queries on one connection'

perl -MIO::Socket::INET -e '
	my $s = IO::Socket::INET->new(Proto => "udp", PeerAddr => "127.0.0.1:$ARGV[0]");
	my $said = "";
	for my $p ("\x12\x34\x01\x00\0\1\0\0\0\0\0\0\x3fweb", "\x12\x34\x01\x00\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
		   "\x12\x34\x01\x00\0\2\0\0\0\0\0\0\0\0\1\0\1\0\0\1\0\1", "\x12\x34\x01\x00\0\0\0\0\0\0\0\0") {
		$s->send($p); my $r = ""; vec(my $w, fileno($s), 1) = 1;
		select($w, undef, undef, 2) and $s->recv($r, 512);
		$said .= length($r) >= 12 ? ord(substr $r, 3, 1) & 15 : "-";
	}
	srand 1;
	$s->send(join "", map { chr rand 256 } 1 .. rand 300) for 1 .. 3000;
	$s->send("\x12\x34\x81\x00\0\1\0\0\0\0\0\0\0\0\1\0\1");
	print $said' "$port" >"$work/malformed"
is "$(cat "$work/malformed")" 1111 'malformed queries: FORMERR'
is "$(short loop 0.web.shop.ployz.internal A)" '10.101.7.10 ' 'it answers after 3,000 random packets'

request() {
	bus "$bus_url" request "ployz.v1.m1.dnsd.$1" "$2" "${3:-5}"
}
# applied NS INTENT FACTS [GENERATION]
applied() {
	request applied '{"namespace":"'"$1"'","wanted":{"generation":'"${4:-1}"',"intent":'"$2"',"facts":'"$3"'}}'
}

# Watermarks, and the view that they rest on.
view=$work/dnsd/view
ok 'nothing is stored before it is to be confirmed' test ! -e "$view"
like "$(applied shop 3 1)" '"ok":.*"generation":1,"intent":3,"facts":1' 'applied'
like "$(head -n 1 "$view")" '^ployz-dnsd-view 1 1 3 1 4$' 'the view is stored before that'
stored=$(stat -c %i "$view")
like "$(applied shop 2 1)" '"ok"' 'an earlier watermark'
is "$(stat -c %i "$view")" "$stored" 'is confirmed without another write'
applied shop 3 2 >"$work/applied" &
pid=$!
like "$(applied shop 3 1)" '"ok"' 'while one request waits'
is "$(cat "$work/applied")" '' 'for an entry that has not arrived'
facts m1 shop "$(fact shop web 0 a ready 10.101.7.11)" "$(fact shop web 1 a draining 10.101.7.20)" >/dev/null
wait "$pid"
like "$(cat "$work/applied")" '"facts":2' 'it is answered when the entry is applied'
ok 'and stored' grep -q '^ployz-dnsd-view 1 1 3 2 4$' "$view"
like "$(applied shop 3 2 0)" 'NOT_READY.*the store.s generation is 1' 'a generation that has passed is refused'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' "a fact's address counts; a draining instance is left out"
like "$(request resolve '{"name":"web","type":"A","namespace":"shop"}')" '10.101.7.11.*' 'resolve: the answer'
like "$(request resolve '{"name":"web","type":"A","namespace":"shop"}')" 'slot 1: draining' 'with the reason'
like "$(request resolve '{"name":"nix.shop.ployz.internal"}')" 'NXDOMAIN.*namespace shop has no service nix' \
	'and why there is none'
like "$(request resolve '{"name":"a..b"}')" 'INVALID' 'not a name'
like "$(request status '{}')" '"serving":"projection"' 'status'

# A deploy of two services that need each other, in a namespace that has committed nothing.
open='"open":{"deploy":"d1","epoch":1,"generation":1,"machine":"m1"}'
intent namespace.duo '{"namespace":"duo","revision":0,"writer":"d1","epoch":1,'"$open"'}' >/dev/null
facts m1 duo "$(fact duo app -1 d1 starting 10.101.7.42)" "$(fact duo app 0 d1 starting 10.101.7.40)" \
	"$(fact duo db 0 d1 starting 10.101.7.41)" >/dev/null
like "$(applied duo 4 3)" '"facts":3' 'a pre_deploy container is a fact like others'
is "$(short from 10.101.7.40 db A)" '10.101.7.41 ' 'a candidate finds a running candidate'
is "$(short from 10.101.7.41 app.ployz.internal A)" '10.101.7.40 ' 'and is found by it'
is "$(short from 10.101.7.42 db.duo.ployz.internal A)" '10.101.7.41 ' 'so does a pre_deploy container'
is "$(short from 10.101.7.40 0.db.duo.ployz.internal A)" '10.101.7.41 ' 'by its slot'
is "$(short from 10.101.7.40 _sql._tcp.db.duo.ployz.internal SRV)" '0 1 5432 0.db.duo.ployz.internal. ' 'by its port'
is "$(status from 10.101.7.40 db AAAA)" NOERROR 'the name exists for every type'
is "$(status loop db.duo.ployz.internal A)" NXDOMAIN 'nobody else finds it'
is "$(status from 10.101.7.10 db.duo.ployz.internal A)" NXDOMAIN "nor does another namespace's instance"
like "$(request resolve '{"name":"db","namespace":"duo"}')" NXDOMAIN 'nor does resolve'
# A container that asks before its facts have arrived.
before=$(ms)
from 10.101.7.43 db A +short >"$work/early" &
early=$!
from 10.101.7.43 db A +short +tcp >"$work/early.tcp" &
early_tcp=$!
within 5 sh -c "bus $bus_url request ployz.v1.m1.dnsd.status '{}' | grep -q '\"deferred\":2'"
facts m1 duo "$(fact duo app -1 d1 starting 10.101.7.42)" "$(fact duo app 0 d1 starting 10.101.7.40)" \
	"$(fact duo db 0 d1 starting 10.101.7.41)" "$(fact duo app 1 d1 starting 10.101.7.43)" >/dev/null
wait "$early" "$early_tcp"
is "$(cat "$work/early" "$work/early.tcp" | tr '\n' ' ')" '10.101.7.41 10.101.7.41 ' \
	'a container that asks before its facts have arrived is answered when they have'
ok 'at once' test $(($(ms) - before)) -lt 1000
is "$(from 10.101.7.44 good.example A +short)" 192.0.2.1 'what is not of the zone does not wait'

intent namespace.duo '{"namespace":"duo","revision":1,"deploy":"d1","writer":"d1","epoch":1,"services":[{"name":"db",
	"slots":[{"slot":0,"instance":"duo-db-0-d1","machine":"m1"}]}]}' >/dev/null
facts m1 duo "$(fact duo db 0 d1 ready 10.101.7.41)" >/dev/null
like "$(applied duo 5 5)" '"ok"' 'the commit'
is "$(short loop db.duo.ployz.internal A)" '10.101.7.41 ' 'makes it known to all'

# Facts of a removed member.
member m2 10.101.8.0/24 active >/dev/null
facts m2 shop "$(fact shop web 1 a ready 10.101.8.20)" >/dev/null
intent namespace.shop "$(head_of shop 2 a | sed 's/\("instance":"shop-web-1-a","machine":"\)m1/\1m2/')" >/dev/null
like "$(applied shop 7 6)" '"ok"' 'an instance on another machine'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 10.101.8.20 ' 'has an address'
member m2 10.101.8.0/24 removed >/dev/null
like "$(applied shop 8 6)" '"ok"' 'once its machine is removed'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'it has none'

# An entry that cannot be decoded.
intent namespace.blog '{"namespace":"blog","revision":"x"}' >/dev/null
ok 'an entry that cannot be decoded is logged' within 5 grep -q \
	'cannot decode entry 9 on ployz.v1.intent.namespace.blog: revision: .*; serving its last good entry' "$work/dnsd.log"
is "$(status loop web.blog.ployz.internal A)" NOERROR 'its last good entry is served'
like "$(request status '{}')" '"errors":\[\{"namespace":"blog"' 'status names it'
like "$(applied blog 9 6)" '"held":"entry 9 on ployz.v1.intent.namespace.blog: revision' 'its namespace is held back'
unlike "$(applied shop 9 6)" '"held"' 'no other namespace is'

# A restart, with the entry still there: the stored view has its last good one.
dnsd_restart() {
	kill -KILL "$dnsd_pid"
	wait "$dnsd_pid" 2>/dev/null
	dnsd_start
	listens_on_bridge
}
dnsd_restart
like "$(applied blog 9 6)" '"held":"entry 9' 'after a restart it is still held back'
is "$(status loop web.blog.ployz.internal A)" NOERROR 'and served from its last good entry'

# The view cannot be stored.
intent namespace.blog "$(head_of blog 5 c)" >/dev/null
mv "$view" "$work/view"
mkdir "$view"
like "$(applied blog 10 6)" "FAILED.*cannot store the view in $view: Is a directory" 'a view that cannot be stored'
ok 'is logged' grep -q "cannot store the view in $view: Is a directory" "$work/dnsd.log"
rmdir "$view"
like "$(applied blog 10 6)" '"ok":.*"intent":10' 'is stored when it can be'
unlike "$(applied blog 10 6)" '"held"' 'a good entry ends the error'

# Requests that arrive while a view is being stored.
for i in $(seq 20); do
	facts m1 shop "$(fact shop web 0 a ready 10.101.7.$((10 + i % 2)))" >/dev/null
	applied shop 10 $((6 + i)) >"$work/applied.$i" &
	pids="${pids-} $!"
done
# shellcheck disable=SC2086 # a list
wait $pids
is "$(cat "$work"/applied.* | grep -c '"ok"')" 20 '20 requests, each for a newer view'
facts m1 shop "$(fact shop web 0 a ready 10.101.7.11)" >/dev/null
like "$(applied shop 10 27)" '"facts":27' 'and the last one'
ok 'which is stored' grep -q '^ployz-dnsd-view 1 1 10 27 ' "$view"

# More addresses than a packet over UDP holds.
slots=$(for i in $(seq 0 99); do slot shop web "$i" 10.101.9.9; done | sed 's/}{/},{/g')
intent namespace.many \
	"$(printf '{"namespace":"many","revision":1,"services":[{"name":"web","slots":[%s]}]}' "$slots")" >/dev/null
facts m1 many "$(for i in $(seq 0 99); do fact shop web "$i" a ready 10.101.9.$i; done | sed 's/}{/},{/g')" >/dev/null
like "$(applied many 11 28)" '"ok"' '100 instances'
like "$(loop +ignore +noedns web.many.ployz.internal A)" 'flags: qr aa tc' 'are truncated over UDP'
is "$(loop +tcp +short web.many.ployz.internal A | grep -c .)" 100 'and whole over TCP'

# Without the store.
end_pid "$store_pid"
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'without the store it answers'
dnsd_restart
ok 'after a restart from the local mirror' within 10 grep -q 'local mirror' "$work/dnsd.log"
like "$(request status '{}')" '"stale_since"' 'with stale since in its status'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'with the same answers'
like "$(applied shop 11 28)" '"stale_since"' 'and confirms what it has'

# Without the mirror either.
end_pid "$bus_pid"
mv "$work/bus" "$work/bus.away"
mkdir "$work/bus"
local_start
end_pid "$dnsd_pid"
dnsd_start "$work/new"
within 10 grep -q ready "$work/dnsd.log"
is "$(status loop web.shop.ployz.internal A)" SERVFAIL 'without any view nothing is denied'
is "$(loop +short good.example A)" 192.0.2.1 'but other names are forwarded'
like "$(request resolve '{"name":"web.shop.ployz.internal"}')" 'SERVFAIL.*the zone is not loaded yet' 'resolve says why'
like "$(request resolve '{"name":"good.example"}')" 'FORWARDED.*not a name of ployz.internal' 'and knows other names'
like "$(request status '{}')" '"serving":"nothing"' 'status says so'
end_pid "$dnsd_pid"
dnsd_start
listens_on_bridge
ok 'after a restart without store and mirror' \
	grep -q 'serving the stored view as of generation 1, intent 11, facts 28' "$work/dnsd.log"
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'the stored view is served'
is "$(short from 10.101.7.11 web A)" '10.101.7.11 ' 'also to its instances'
like "$(request status '{}')" '"serving":"stored view"' 'status says so'
like "$(request status '{}')" '"stale_since"' 'with stale since'
like "$(request status '{}')" '"stale_reason"' 'and the reason'
like "$(applied shop 11 28)" '"ok":.*"intent":11.*"stale_since"' 'what it was stored for is confirmed'

# A request that arrives before that.
kill -KILL "$dnsd_pid"
wait "$dnsd_pid" 2>/dev/null
dnsd_start
within 10 grep -q ready "$work/dnsd.log"
like "$(applied shop 11 28)" '"ok":.*"intent":11.*"stale_since"' 'a request waits for the stored view'

# Without the bus.
end_pid "$bus_pid"
dnsd_restart
ok 'after a restart without the bus' grep -q 'the local bus does not answer; serving the stored view' "$work/dnsd.log"
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'the stored view is served'
is "$(loop +short good.example A)" 192.0.2.1 'and other names are forwarded'
rm -rf "$work/bus"
mv "$work/bus.away" "$work/bus"
store_start
local_start
ok 'once there is a bus and a store' within 20 grep -q 'the zone is loaded' "$work/dnsd.log"
like "$(request status '{}')" '"serving":"projection"' 'the store is followed'
unlike "$(request status '{}')" '"stale_since"' 'and nothing is stale'

# A damaged view.
end_pid "$dnsd_pid"
echo damaged >"$view"
dnsd_start
listens_on_bridge
ok 'a damaged view is logged' \
	grep -q "cannot read the stored view in $view; waiting for the store or the local mirror: " "$work/dnsd.log"
like "$(applied shop 11 28)" '"ok"' 'and replaced'
like "$(head -n 1 "$view")" '^ployz-dnsd-view 1 1 11 28 ' 'by the one that is confirmed'

# A store that has lost entries: a copy of an earlier one is put back.
store_kill() {
	kill -KILL "$store_pid"
	wait "$store_pid" 2>/dev/null
}
store_back() {
	store_start
	within 10 store_linked
}
reason() {
	request status '{}' | grep -q "\"stale_reason\":\"[^\"]*$1"
}
store_kill
cp -a "$work/store" "$work/store.saved"
store_back
facts m1 shop "$(fact shop web 0 a ready 10.101.7.20)" >/dev/null
like "$(applied shop 11 29)" '"facts":29' 'an entry'
store_kill
rm -rf "$work/store"
mv "$work/store.saved" "$work/store"
store_back
ok 'that its store has lost' within 30 reason 'entries of PLOYZ_FACTS are missing'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.20 ' 'is served'
like "$(request status '{}')" '"stale_since"' 'with stale since'
facts m1 shop "$(fact shop web 0 a ready 10.101.7.10)" >/dev/null
ok 'another entry with its sequence' within 10 reason 'entries of PLOYZ_FACTS are missing: entry 29 differs'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.20 ' 'is not'
like "$(applied shop 11 29)" '"ok":.*"stale_since"' 'what was stored is confirmed, as stale'
dnsd_restart
is "$(short loop web.shop.ployz.internal A)" '10.101.7.20 ' 'nor is it after a restart'
like "$(request status '{}')" '"stale_since"' 'which does not change what is known'
ok 'an operator accepts the store' streams_make 1 test 2
like "$(applied shop 11 29 2)" '"ok":.*"generation":2,"intent":11,"facts":29' 'its entries are applied'
unlike "$(applied shop 11 29 2)" '"stale_since"' 'nothing is stale'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.10 ' 'and served'
ok 'and stored' grep -q '^ployz-dnsd-view 1 2 11 29 ' "$view"
like "$(applied shop 11 29 1)" 'NOT_READY' 'the generation before is no longer confirmed'

# A store that was created again.
store_kill
rm -rf "$work/store"
store_back
ok 'without streams' within 30 reason 'PLOYZ_INTENT'
ok 'another store is created' streams_make 1 second 2
ok 'it is noticed' within 30 reason 'PLOYZ_INTENT was created again'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.10 ' 'the last known good view is served'
dnsd_restart
is "$(short loop web.shop.ployz.internal A)" '10.101.7.10 ' 'also after a restart'
ok 'an operator accepts it' streams_make 1 second 3
ok 'then its names are gone' within 20 eval '[ "$(status loop web.shop.ployz.internal A)" = NXDOMAIN ]'
like "$(applied shop 0 0 3)" '"ok":.*"generation":3' 'and that is confirmed'

# A head that arrives before the facts that it relies on. The old store's mirrors have gone, as meshd sees to.
end_pid "$bus_pid"
rm -rf "$work/bus"
mkdir "$work/bus"
local_start
within 10 store_linked
mirrors_make
late_of() {
	printf '{"namespace":"late","revision":%s,"deploy":"%s","generation":3,"facts":%s,"services":[{"name":"web",
		"slots":[{"slot":0,"instance":"late-web-0-%s","machine":"m1"}]}]}' "$1" "$2" "$3" "$2"
}
member m1 10.101.7.0/24 active >/dev/null
facts m1 late "$(fact late web 0 a ready 10.101.7.10)" >/dev/null
intent namespace.late "$(late_of 1 a 1)" >/dev/null
like "$(applied late 2 1 3)" '"ok"' 'a head with its facts'
is "$(short loop web.late.ployz.internal A)" '10.101.7.10 ' 'takes effect'
intent namespace.late "$(late_of 2 b 2)" >/dev/null
within 5 eval 'request status "{}" | grep -q "\"intent\":3"'
is "$(short loop web.late.ployz.internal A)" '10.101.7.10 ' 'one without them waits'
dnsd_restart
within 5 eval 'request status "{}" | grep -q "\"intent\":3"'
is "$(short loop web.late.ployz.internal A)" '10.101.7.10 ' 'also after a restart'
applied late 3 1 3 >"$work/late" &
pid=$!
like "$(applied duo 3 1 3)" '"ok"' 'another namespace is confirmed'
is "$(cat "$work/late")" '' 'its own is not'
facts m1 late "$(fact late web 0 a ready 10.101.7.10)" "$(fact late web 0 b ready 10.101.7.20)" >/dev/null
wait "$pid"
like "$(cat "$work/late")" '"ok"' 'until the facts arrive'
is "$(short loop web.late.ployz.internal A)" '10.101.7.20 ' 'and it takes effect'

other=$(free_port)
start "$work/squat.log" perl -MIO::Socket::INET -e \
	'my $s = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1:$ARGV[0]"); sleep 600' "$other"
within 5 sh -c "grep -qi :$(printf %04X "$other") /proc/net/udp"
run dnsd --config /dev/null --bus "$bus_url" --machine m1 --credentials "$work" --state "$work/other" \
	--run "$work" --dns-listen "127.0.0.1:$other"
exits 1 'a port in use'
like "$err" "cannot listen on 127.0.0.1:$other: another process uses this port" 'is named'

done_testing
