#!/bin/sh
# dnsd against real servers, asked by kdig and dig. Everything happens in a network namespace of its own, so
# that containers' addresses can be had without containers.

if [ -z "${DNSD_NETNS-}" ]; then
	if ! DNSD_NETNS=1 unshare --net true 2>/dev/null; then
		echo '1..0 # SKIP no network namespace can be made'
		exit 0
	fi
	DNSD_NETNS=1 exec unshare --net sh "$0" "$@"
fi
. tests/lib/fixture.sh
. tests/lib/tap.sh
. tests/lib/bus.sh

ip link set lo up
for address in 10.101.7.1 10.101.7.10 10.101.7.20 10.101.7.99 192.0.2.77; do
	ip addr add "$address/32" dev lo
done

bus_start || bail 'no servers'
bus "$bus_url" stream '{"name":"PLOYZ_INTENT","subjects":["ployz.v1.intent.>"],"storage":"file",
	"max_msgs_per_subject":256,"allow_rollup_hdrs":true}' || bail 'no stream'

intent() {
	bus "$bus_url" append "ployz.v1.intent.$1" "$2" any $3
}

# head NS REVISION DEPLOY: web with two slots and a port, idle with one slot that no fact is ready of.
head_of() {
	printf '{"namespace":"%s","revision":%s,"deploy":"%s","verb":"deploy","operator":"me","from":"m1",
	"at":"2026-01-01T00:00:00.000Z","epoch":1,"nonce":"n%s","hash":"h",
	"manifest":{"namespace":"%s","services":{"web":{"image":"x","replicas":2,"ports":{"http":{"port":8080}}},
		"idle":{"image":"x"}}},
	"services":[{"name":"web","digest":"d","slots":[
		{"slot":0,"instance":"%s-web-0-a","machine":"m1","address":"10.101.7.10","deploy":"a","hash":"h"},
		{"slot":1,"instance":"%s-web-1-a","machine":"m1","address":"10.101.7.20","deploy":"a","hash":"h"}]},
	{"name":"idle","digest":"d","slots":[
		{"slot":0,"instance":"%s-idle-0-a","machine":"m1","address":"10.101.7.30","deploy":"a","hash":"h"}]}]}' \
		"$1" "$2" "$3" "$2" "$1" "$1" "$1" "$1"
}

# fact NS SERVICE SLOT ADDRESS STATE
fact() {
	printf '{"id":"%s-%s-%s-a","namespace":"%s","service":"%s","slot":%s,"deploy":"a","epoch":1,"state":"%s",
		"address":"%s","image":"x","hash":"h","since":"2026-01-01T00:00:00.000Z"}' \
		"$1" "$2" "$3" "$1" "$2" "$3" "$5" "$4"
}

facts() {
	printf '{"machine":"m1","namespace":"%s","instances":[%s]}' "$1" "$2"
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

# The machine's own copy.
bus "$bus_url" stream '{"name":"PLOYZ_INTENT","storage":"file","max_msgs_per_subject":256,"allow_rollup_hdrs":true,
	"mirror":{"name":"PLOYZ_INTENT","external":{"api":"$JS.ployz.API","deliver":""}}}' m1 || bail 'no copy'
upstream=$(free_port)
port=$(free_port)
start "$work/upstream.log" perl "$work/upstream.pl" "$upstream"
intent machine.m1 '{"id":"m1","name":"m1","subnet":"10.101.7.0/24","region":"default","zone":"a","arch":"x86_64",
	"life_cycle":"active"}' >/dev/null || bail 'no machine record'
intent namespace.shop "$(head_of shop 1 a)" >/dev/null
intent namespace.blog "$(head_of blog 4 b)" >/dev/null
intent instances.m1.shop "$(facts shop "$(fact shop web 0 10.101.7.10 ready),$(fact shop web 1 10.101.7.20 ready)")" \
	rollup >/dev/null

dnsd_start() {
	start "$work/dnsd.log" dnsd --config /dev/null --bus "$bus_url" --machine m1 --credentials "$work" \
		--state "$work/dnsd" --run "$work" --dns-listen "127.0.0.1:$port" --forward "127.0.0.1:$upstream"
	dnsd_pid=$started
}
dnsd_start
within 15 grep -q 'listening on 10.101.7.1:53' "$work/dnsd.log" || diag "$(cat "$work/dnsd.log")"

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

is "$(short loop web.shop.ployz.internal A)" '10.101.7.10 10.101.7.20 ' 'both replicas, from anywhere'
is "$(short loop WEB.Shop.PLOYZ.internal A)" '10.101.7.10 10.101.7.20 ' 'in any case'
is "$(short loop +tcp web.shop.ployz.internal A)" '10.101.7.10 10.101.7.20 ' 'over TCP'
is "$(short loop 1.web.shop.ployz.internal A)" '10.101.7.20 ' 'one replica'
is "$(short from 10.101.7.10 web A)" '10.101.7.10 10.101.7.20 ' 'a single label in the own namespace'
is "$(short from 10.101.7.10 web.ployz.internal A)" '10.101.7.10 10.101.7.20 ' 'the same with the zone'
is "$(short from 10.101.7.10 0.web.ployz.internal A)" '10.101.7.10 ' 'a slot in the own namespace'
is "$(status loop web A)" NXDOMAIN 'no namespace, no single labels'
is "$(status from 10.101.7.99 web A)" NXDOMAIN 'an address without an instance has no namespace'
is "$(status dig -b 192.0.2.77 @10.101.7.1 +tries=1 +time=3 web.shop.ployz.internal)" REFUSED 'strangers are refused'
is "$(status loop nix.shop.ployz.internal A)" NXDOMAIN 'no such service'
is "$(status loop idle.shop.ployz.internal A)" NOERROR 'a service that has nobody ready is there'
is "$(short loop idle.shop.ployz.internal A)" '' 'and has no address'
like "$(loop idle.shop.ployz.internal A)" 'AUTHORITY: 1' 'but an SOA'
is "$(short loop web.shop.ployz.internal AAAA)" '' 'no IPv6'
is "$(status loop web.shop.ployz.internal AAAA)" NOERROR 'which is not an error'
is "$(short loop _http._tcp.web.shop.ployz.internal SRV)" \
	'0 1 8080 0.web.shop.ployz.internal. 0 1 8080 1.web.shop.ployz.internal. ' 'SRV'
like "$(loop _http._tcp.web.shop.ployz.internal SRV)" '^0.web.shop.ployz.internal.*A.*10.101.7.10' 'with addresses'
is "$(status loop _http._udp.web.shop.ployz.internal SRV)" NXDOMAIN 'no such port'
is "$(loop +short web.shop.ployz.internal TXT)" '"deploy=a" "revision=1" "ready=2/2"' 'TXT'
is "$(loop +short -x 10.101.7.20)" '1.web.shop.ployz.internal.' 'the way back'
is "$(status loop ployz.internal SOA)" NOERROR 'the apex'
is "$(loop +short ployz.internal NS)" 'ployz.internal.' 'its NS'
is "$(loop +short web.shop.ployz.internal ANY)" '"RFC8482" ""' 'ANY, as little as can be'
is "$(status loop version.bind TXT CH)" REFUSED 'another class'
is "$(status loop +opcode=NOTIFY web.shop.ployz.internal SOA)" NOTIMP 'another opcode'
is "$(status loop +edns=1 +noednsnegotiation web.shop.ployz.internal)" BADVERS 'another EDNS'
firsts=$(for i in 1 2 3 4; do loop +short web.shop.ployz.internal A | head -n 1; done | sort -u | grep -c .)
is "$firsts" 2 'the answers take turns'

is "$(loop +short good.example A)" 192.0.2.1 'others are asked for other names'
is "$(loop +short +tcp good.example A)" 192.0.2.2 'over TCP where the client uses it'
is "$(loop +short big.example A)" 192.0.2.2 'and where the answer was truncated'
is "$(loop +short wrong.example A)" 192.0.2.1 'an answer with another id is none'
is "$(status loop silent.example A)" SERVFAIL 'silence ends'
like "$(kdig @127.0.0.1 -p "$port" +keepopen +tcp web.shop.ployz.internal 0.web.shop.ployz.internal +short)" \
	'10.101.7.10' 'several questions a connection'

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
is "$(cat "$work/malformed")" 1111 'malformed: FORMERR'
is "$(short loop 0.web.shop.ployz.internal A)" '10.101.7.10 ' 'and after noise it still answers'

ask_bus() {
	bus "$bus_url" request "ployz.v1.m1.dnsd.$1" "$2" 5
}
like "$(ask_bus applied '{"sequence":4}')" '"ok":.*"sequence":4' 'applied'
ask_bus applied '{"sequence":5}' >"$work/applied" &
applied=$!
intent instances.m1.shop "$(facts shop "$(fact shop web 0 10.101.7.11 ready),$(fact shop web 1 10.101.7.20 draining)")" \
	rollup >/dev/null
wait "$applied"
like "$(cat "$work/applied")" '"sequence":5' 'applied is answered once it is so'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'the fact wins over the head; draining ones go'
like "$(ask_bus resolve '{"name":"web","type":"A","namespace":"shop"}')" '10.101.7.11.*' 'resolve says what it would answer'
like "$(ask_bus resolve '{"name":"web","type":"A","namespace":"shop"}')" 'slot 1: draining' 'and why'
like "$(ask_bus resolve '{"name":"nix.shop.ployz.internal"}')" 'NXDOMAIN.*namespace shop has no service nix' 'and why not'
like "$(ask_bus resolve '{"name":"a..b"}')" 'INVALID' 'no name'
like "$(ask_bus status '{}')" '"loaded":true' 'status'

intent namespace.blog '{"namespace":"blog","revision":"x"}' >/dev/null
within 5 grep -q 'cannot be read' "$work/dnsd.log"
is "$(status loop web.blog.ployz.internal A)" NOERROR 'an entry that cannot be read leaves the last good one'
like "$(ask_bus status '{}')" '"troubles":\[\{"namespace":"blog"' 'which status names'

end_pid "$store_pid"
end_pid "$bus_pid"
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'without the bus it goes on answering'
kill -KILL "$dnsd_pid"
wait "$dnsd_pid" 2>/dev/null
local_start
dnsd_start
within 20 grep -q 'listening on 10.101.7.1:53' "$work/dnsd.log"
within 20 grep -q 'cannot be followed' "$work/dnsd.log"
like "$(ask_bus status '{}')" 'stale_since' 'stale since, it says'
is "$(short loop web.shop.ployz.internal A)" '10.101.7.11 ' 'and answers from the machine'"'"'s own copy'

other=$(free_port)
start "$work/squat.log" perl -MIO::Socket::INET -e \
	'my $s = IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1:$ARGV[0]"); sleep 600' "$other"
within 5 sh -c "grep -qi :$(printf %04X "$other") /proc/net/udp"
run dnsd --config /dev/null --bus "$bus_url" --machine m1 --credentials "$work" --state "$work/other" \
	--run "$work" --dns-listen "127.0.0.1:$other"
exits 1 'a port in use'
like "$err" "cannot listen on 127.0.0.1:$other: another program has this port" 'is named'

done_testing
