#!/bin/sh
# routed between real nats-servers and a real HAProxy: the gateway does what the store says.
. tests/lib/fixture.sh
. tests/lib/tap.sh
. tests/lib/bus.sh

for needed in nats-server haproxy busybox curl perl; do
	command -v "$needed" >/dev/null || skip_all "there is no $needed"
done

run_dir=$work/run
state_dir=$work/state
mkdir -p "$run_dir" "$state_dir"
gateway=127.0.0.1:$(free_port)
tcp_port=$(free_port)
app_port=$(free_port)
other_port=$(free_port)

# The last sequences of PLOYZ_INTENT and PLOYZ_FACTS that this test wrote.
generation=1
intent=0
seen=0

# backend ADDRESS: an HTTP server there that answers with its address.
backend() {
	mkdir -p "$work/www/$1/sub" "$work/www/$1/late"
	echo "$1" >"$work/www/$1/index.html"
	echo "$1 sub" >"$work/www/$1/sub/index.html"
	echo "$1 late" >"$work/www/$1/late/index.html"
	start "$work/httpd.log" busybox httpd -f -p "$1:$app_port" -h "$work/www/$1"
	within 5 listens "$1:$app_port"
}

# http_route HOST PATH [STRIP], tcp_route PORT: routes of a head, as JSON.
http_route() {
	printf '{"key":"%s","service":"web","port":"http","host":"%s","path":"%s","strip":%s}' "$1$2" "$1" "$2" "${3:-false}"
}

tcp_route() {
	printf '{"key":"tcp/%s","service":"web","port":"http","listen":%s}' "$1" "$1"
}

# head_json NS REVISION ROUTES SLOTS [MORE]: ROUTES and SLOTS are JSON, without their brackets.
head_json() {
	printf '{"namespace":"%s","revision":%s,"deploy":"d%s","services":[{"name":"web","ports":{"http":{"port":%s}},"slots":[%s]}],"routes":[%s]%s}' \
		"$1" "$2" "$2" "$app_port" "$4" "$3" "${5-}"
}

slot_json() {
	printf '{"slot":%s,"instance":"%s","machine":"m1","address":"%s"}' "$1" "$2" "$3"
}

fact_json() {
	printf '{"id":"%s","namespace":"%s","service":"web","slot":0,"deploy":"d1","epoch":1,"state":"%s","address":"%s","ports":{"http":{"port":%s}}}' \
		"$1" "$2" "$3" "$4" "$app_port"
}

# facts NS FACT,FACT…: of machine m1.
facts() {
	seen=$(bus "$bus_url" append "ployz.v1.facts.m1.$1" \
		"{\"machine\":\"m1\",\"namespace\":\"$1\",\"instances\":[$2]}" any)
}

commit() {
	intent=$(bus "$bus_url" append "ployz.v1.intent.namespace.$1" "$2" any)
}

# claim NS KEY…
claim() {
	claimant=$1
	shift
	for key; do
		token=$(printf %s "$key" | sed 's/\./%2E/g; s,/,%2F,g; s/\*/%2A/g')
		intent=$(bus "$bus_url" append "ployz.v1.intent.route.$token" \
			"{\"key\":\"$key\",\"namespace\":\"$claimant\",\"deploy\":\"d1\",\"epoch\":1}" any)
	done
}

member() {
	intent=$(bus "$bus_url" append "ployz.v1.intent.member.$1" "{\"id\":\"$1\",\"life_cycle\":\"$2\"}" any)
}

# All that was written up to now.
wanted() {
	printf '{"generation":%s,"intent":%s,"facts":%s}' "$generation" "$intent" "$seen"
}

# applied [NAMESPACE]: the answer to a request about everything that was written.
applied() {
	bus "$bus_url" request ployz.v1.m1.routed.applied "{${1:+\"namespace\":\"$1\",}\"wanted\":$(wanted)}" 15
}

is_applied() {
	applied "$@" | grep -q '^{"ok"'
}

# drained WAIT-MS INSTANCE…
drained() {
	drained_ms=$1
	shift
	bus "$bus_url" request ployz.v1.m1.routed.drained \
		"{\"instances\":[$(printf '"%s"\n' "$@" | paste -sd,)],\"wanted\":$(wanted),\"wait_ms\":$drained_ms}" 25
}

routes() {
	bus "$bus_url" request ployz.v1.m1.routed.routes '{}' 5
}

routes_show() {
	routes | grep -q "$1"
}

status_shows() {
	status | grep -q "$1"
}

get() {
	curl -s --max-time 15 -H "Host: $1" "http://$gateway$2"
}

get_status() {
	curl -s -o /dev/null -w '%{http_code}' --max-time 15 -H "Host: $1" "http://$gateway$2"
}

status() {
	bus "$bus_url" request ployz.v1.m1.routed.status '{}' 5
}

# haproxy_command COMMAND: on its runtime socket.
haproxy_command() {
	perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or die; print $s "$ARGV[1]\n"; print <$s>' \
		"$run_dir/haproxy.sock" "$1"
}

# listens_as TEXT ADDRESS:PORT: what an HTTP server there answers with.
listens_as() {
	[ "$(curl -s --max-time 2 "http://$2/")" = "$1" ]
}

# A request that is held is on its second try at least.
waits_again() {
	[ "$(haproxy_command 'show stat -1 4 -1' | awk -F, '$2 == "hold" { n += $16 } END { print n + 0 }')" -ge 2 ]
}

# field NAME TEXT: a number in the text's JSON.
field() {
	printf '%s' "$2" | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p"
}

routed_options() {
	echo "--bus $bus_url --machine m1 --run $run_dir --state $state_dir --credentials $work/none" \
		"--config $work/none.conf --gateway-http $gateway --gateway-address 127.0.0.1 --pool 4"
}

prepare() {
	# shellcheck disable=SC2046
	routed $(routed_options) --prepare
}

haproxy_start() {
	start "$work/haproxy.log" haproxy -W -S "$run_dir/haproxy-master.sock" -f "$run_dir/haproxy.cfg"
	haproxy_pid=$started
	within 10 listens "$gateway"
}

routed_start() {
	# shellcheck disable=SC2046
	start "$work/routed.log" routed $(routed_options)
	routed_pid=$started
	within 10 status
}

bus_start || bail 'the bus did not start'
streams_make || bail "no streams: $(cat "$work/out")"
for n in 2 3 4; do backend 127.0.0.$n; done

# --- prepare
start "$work/other.log" perl -MIO::Socket::INET -e \
	'$l = IO::Socket::INET->new(Listen => 5, LocalAddr => $ARGV[0], ReuseAddr => 1) or die; sleep 60' "$gateway"
other=$started
within 5 listens "$gateway"
run prepare
exits 1 'a gateway port that is in use is refused'
like "$err" "cannot listen on $gateway: .*gateway-http" 'with its address and the next step'
end_pid "$other"
run prepare
exits 0 'prepare writes a configuration without any routes'
ok 'HAProxy takes it without a warning' sh -c "! haproxy -c -f '$run_dir/haproxy.cfg' 2>&1 | grep -E 'WARN|ALERT'"

haproxy_start || bail "no HAProxy: $(cat "$work/haproxy.log")"
routed_start || bail "no routed: $(cat "$work/routed.log")"

# --- routes
facts shop "$(fact_json shop-web-0-a shop ready 127.0.0.2)"
head_a=$(head_json shop 1 "$(http_route shop.example /),$(http_route '*.wild.example' /),$(http_route shop.example /api true)" \
	"$(slot_json 0 shop-web-0-a 127.0.0.2)")
commit shop "$head_a"
like "$(applied shop)" '"unserved": *\["shop.example/: no namespace has claimed shop.example; deploy shop again"' \
	'a namespace without a claim is not served, and the answer names the route'
is "$(get_status shop.example /)" 404 'it gets no traffic'
like "$(status)" '"unserved": *\["shop.example/ of shop/web is not served: no namespace has claimed' 'status names it'
like "$(routes)" '"key":"shop.example/",[^{]*"error":"no namespace has claimed' 'so does routes'
claim shop shop.example '*.wild.example' shop.example/api
like "$(applied shop)" "\"applied\":$(wanted)" 'applied is answered, with the watermark'
unlike "$(applied shop)" 'unserved' 'with the claims everything is served'
is "$(get shop.example /)" 127.0.0.2 'an exact host is routed'
is "$(get SHOP.example:80 /)" 127.0.0.2 'also in capitals and with a port'
is "$(get a.wild.example /)" 127.0.0.2 'a wildcard takes one label'
is "$(get_status a.b.wild.example /)" 404 'and no more than one'
is "$(get shop.example /api/sub/)" '127.0.0.2 sub' 'a prefix is stripped'
is "$(get shop.example /api)" 127.0.0.2 'also when nothing is left'
is "$(get_status shop.example /apix)" 404 'and is a prefix by segments only'
like "$(get nobody.example /)" "nobody.example" 'an unknown host is named'
is "$(get_status nobody.example /)" 404 'with 404'

# --- a second replica, then the switch to a new one, without a request that fails
(
	n=0
	while [ ! -e "$work/enough" ]; do
		get_status shop.example /
		echo
		n=$((n + 1))
	done >"$work/load.out"
) &
load_pid=$!
end_later $load_pid
facts shop "$(fact_json shop-web-0-a shop ready 127.0.0.2),$(fact_json shop-web-0-b shop ready 127.0.0.3)"
commit shop "$(head_json shop 2 "$(http_route shop.example /)" "$(slot_json 0 shop-web-0-b 127.0.0.3)")"
applied >"$work/out"
is "$(get shop.example /)" 127.0.0.3 'after the commit the new instance answers'
like "$(drained 5000 shop-web-0-a)" '"connections": *0' 'the old one is drained'
touch "$work/enough"
wait "$load_pid"
is "$(sort -u "$work/load.out")" 200 'no request failed meanwhile'
is "$(get_status a.wild.example /)" 404 'a route that the head no longer has is gone'

# --- instances that become ready together are used in turn from the first request on, also in a backend that others had
claim more more.example
asked_of() { # asked_of REVISION: how many of three have answered three requests
	all= slots= slot=0
	for address in 127.0.0.2 127.0.0.3 127.0.0.4; do
		all=$all${all:+,}$(fact_json "more-web-$slot-$1" more ready $address)
		slots=$slots${slots:+,}$(slot_json $slot "more-web-$slot-$1" $address)
		slot=$((slot + 1))
	done
	facts more "$all"
	commit more "$(head_json more "$1" "$(http_route more.example /)" "$slots")"
	applied >"$work/out"
	for _ in 1 2 3; do
		get more.example /
	done | sort -u | grep -c .
	commit more "$(head_json more "$(($1 + 1))" '' '')"
	applied >"$work/out"
	drained 5000 "more-web-0-$1" "more-web-1-$1" "more-web-2-$1" >"$work/out"
}
is "$(for revision in 1 3 5 7 9 11 13 15; do asked_of $revision; done | tr '\n' ' ')" '3 3 3 3 3 3 3 3 ' \
	'three new instances answer three requests'

# --- a connection that stays is waited for
claim tcp "tcp/$tcp_port"
commit tcp "$(head_json tcp 1 "$(tcp_route "$tcp_port")" "$(slot_json 0 tcp-web-0-a 127.0.0.4)")"
facts tcp "$(fact_json tcp-web-0-a tcp ready 127.0.0.4)"
applied >"$work/out"
is "$(curl -s --max-time 5 "http://127.0.0.1:$tcp_port/")" 127.0.0.4 'a tcp route listens, after a reload'
is "$(get shop.example /)" 127.0.0.3 'and the others are as they were'
is "$(field reloads "$(status)")" 1 'that was one reload'
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; sleep 3' "127.0.0.1:$tcp_port" &
holder=$!
end_later $holder
within 5 routes_show '"connections": *1'
like "$(drained 300 tcp-web-0-a)" '"connections": *1' 'drained counts what is left when the wait is over'
like "$(drained 9000 tcp-web-0-a)" '"connections": *0' 'and waits until it has ended'

# --- nothing ready; held over a stop-first switch
facts shop "$(fact_json shop-web-0-b shop unready 127.0.0.3)"
applied >"$work/out"
is "$(get_status shop.example /)" 503 'no ready instance is 503'
like "$(get shop.example /)" 'shop/web/http has no ready instance' 'and says so'
two="$(slot_json 0 shop-web-0-b 127.0.0.3),$(slot_json 1 shop-web-1-b 127.0.0.4)"
commit shop "$(head_json shop 3 "$(http_route shop.example /)" "$two")"
applied >"$work/out"
seen=$((seen + 1))
like "$(drained 300 shop-web-0-b)" '"code": *"NOT_READY"' 'connections are not counted before the gateway knows to drain'
drained 15000 shop-web-0-b >"$work/drained.out" &
drained=$!
seen=$((seen - 1))
applied >"$work/out"
applied >"$work/out"
is "$(cat "$work/drained.out")" '' 'it waits for that'
facts shop "$(fact_json shop-web-0-b shop stopped 127.0.0.3),$(fact_json shop-web-1-b shop draining 127.0.0.4)"
wait "$drained"
like "$(cat "$work/drained.out")" '"connections": *0' 'and then answers'
get shop.example / >"$work/held.out" &
held=$!
ok 'a request waits while both replicas are away, and is tried again each second' within 10 waits_again
like "$(routes)" '"state": *"held"' 'routes shows it'
like "$(cat "$run_dir/haproxy.cfg")" 'server hold 127.0.0.1:1$' 'a HAProxy that starts meanwhile holds them, too'
facts shop "$(fact_json shop-web-0-b shop stopped 127.0.0.9),$(fact_json shop-web-0-c shop ready 127.0.0.2)"
commit shop "$(head_json shop 4 "$(http_route shop.example /)" "$(slot_json 0 shop-web-0-c 127.0.0.2)")"
wait "$held"
is "$(cat "$work/held.out")" 127.0.0.2 'a request is held until the new instance is there'

# --- routes of others, and routes that this gateway cannot serve
start "$work/other.log" perl -MIO::Socket::INET -e \
	'$l = IO::Socket::INET->new(Listen => 5, LocalAddr => $ARGV[0], ReuseAddr => 1) or die; sleep 60' "127.0.0.1:$other_port"
other=$started
within 5 listens "127.0.0.1:$other_port"
claim late late.example late.example/1/2/3/4/5/6/7/8/9 shop.example/late "tcp/${gateway#*:}" "tcp/$other_port"
commit late "$(head_json late 1 "$(http_route shop.example /),$(http_route late.example /),$(http_route shop.example /late),$(
	http_route late.example /1/2/3/4/5/6/7/8/9 true),$(tcp_route "${gateway#*:}"),$(tcp_route "$other_port")" \
	"$(slot_json 0 late-web-0-a 127.0.0.4)")"
facts late "$(fact_json late-web-0-a late ready 127.0.0.4)"
answer=$(applied late)
is "$(get shop.example /)" 127.0.0.2 'a route that another namespace has claimed stays where it is'
is "$(get shop.example /late/)" '127.0.0.2 late' 'so does a path below its host'
is "$(get late.example /)" 127.0.0.4 'and the rest is served'
for reason in 'shop.example/: namespace shop has claimed shop.example' \
	'shop.example/late: host shop.example belongs to namespace shop, which does not grant it to late' \
	'late.example/1/2/3/4/5/6/7/8/9: strip removes at most 8 segments, /1/2/3/4/5/6/7/8/9 has 9' \
	"tcp/${gateway#*:}: port ${gateway#*:} is the HTTP gateway's own" \
	"tcp/$other_port: cannot listen on port $other_port: Address already in use; retrying every second"; do
	like "$answer" "\"$reason\"" "applied names $reason"
	like "$(status)" "\"${reason%%: *} of late/web is not served: ${reason#*: }\"" '  status names it'
	like "$(routes)" "\"error\":\"${reason#*: }\"" '  routes names it'
done
unlike "$(applied shop)" unserved 'another namespace gets no such list'
like "$(applied)" '"unserved": *\["shop.example/: namespace shop' 'a request about all of them is'
is "$(grep -c "cannot listen on port $other_port" "$work/routed.log")" 1 'the port is logged once'
end_pid "$other"
ok 'once its port is free the tcp route is served' within 15 listens_as 127.0.0.4 "127.0.0.1:$other_port"
unlike "$(applied late)" "tcp/$other_port" 'and confirmed'
commit shop "$(head_json shop 5 "$(http_route shop.example /)" "$(slot_json 0 shop-web-0-c 127.0.0.2)" \
	',"grants":[{"host":"shop.example","namespaces":["late"]}]')"
applied >"$work/out"
is "$(get shop.example /late/)" '127.0.0.4 late' 'a path is served once the owner of its host grants it'
commit shop "$(head_json shop 6 "$(http_route shop.example /)" "$(slot_json 0 shop-web-0-c 127.0.0.2)")"
applied >"$work/out"
is "$(get shop.example /late/)" '127.0.0.2 late' 'and no longer when the grant is gone'

# --- an entry that cannot be decoded
commit late '{"namespace":"late","revision":"x"}'
like "$(applied late)" "\"held\":\"entry $intent on ployz.v1.intent.namespace.late: revision: " \
	'an entry that cannot be decoded is named at once'
is "$(get late.example /)" 127.0.0.4 'the last good one is served'
like "$(status)" '"held": *\["cannot decode entry [0-9]* on ployz.v1.intent.namespace.late' 'status names it'
unlike "$(applied shop)" '"held"' 'other namespaces are confirmed'
kill -KILL "$routed_pid"
wait "$routed_pid" 2>/dev/null
routed_start
like "$(applied late)" '"held":"entry' 'a restarted routed holds it back'
is "$(get late.example /)" 127.0.0.4 'and still serves the last good one'
commit late "$(head_json late 2 "$(http_route late.example /)" "$(slot_json 0 late-web-0-a 127.0.0.4)")"
unlike "$(applied late)" '"held"' 'a good entry ends it'
seen=$(bus "$bus_url" append ployz.v1.facts.m2.late '{"machine":"m2"}' any)
like "$(applied late)" '"held":"entry [0-9]* on ployz.v1.facts.m2.late' "facts of any machine hold their namespace back"
member m2 removed
unlike "$(applied late)" '"held"' 'unless the machine is removed'
member m1 removed
applied >"$work/out"
is "$(get_status shop.example /)" 503 'the facts of a removed machine count as absent'
member m1 active
applied >"$work/out"
is "$(get shop.example /)" 127.0.0.2 'until it is back'

# --- nothing is confirmed that is not saved
rm "$state_dir/table.json"
mkdir "$state_dir/table.json"
facts shop "$(fact_json shop-web-0-c shop ready 127.0.0.3)"
like "$(applied shop)" "NOT_READY.*cannot write $state_dir/table.json: Is a directory" 'a view that cannot be saved is not confirmed'
is "$(get shop.example /)" 127.0.0.3 'though HAProxy has it'
like "$(status)" '"errors": *\["cannot write' 'status names the file'
rmdir "$state_dir/table.json"
ok 'once it can be saved it is confirmed' within 5 is_applied shop
like "$(cat "$state_dir/table.json")" "\"watermark\":$(wanted)" 'and the file has its watermark'
facts shop "$(fact_json shop-web-0-c shop ready 127.0.0.2)"
applied >"$work/out"

# --- restarts
worker=$(field pid "$(status)")
kill -KILL "$routed_pid"
wait "$routed_pid" 2>/dev/null
is "$(get shop.example /)" 127.0.0.2 'the gateway outlives routed'
routed_start
within 5 status_shows '"answers": *true'
is "$(field pid "$(status)")" "$worker" 'a new routed adopts the HAProxy that runs'
is "$(field reloads "$(status)")" 0 'without a reload'
end_pid "$haproxy_pid"
within 5 status_shows '"answers": *false'
like "$(status)" 'does not answer at' 'status reports that HAProxy does not answer'
facts shop "$(fact_json shop-web-0-c shop ready 127.0.0.3)"
like "$(applied shop)" 'NOT_READY.*HAProxy does not answer at' 'a confirmation fails with the reason'
run prepare
exits 0 'prepare writes the table that was last'
haproxy_start
ok 'and is given when it is back' within 5 is_applied shop
is "$(get shop.example /)" 127.0.0.3 'a new HAProxy is brought up to date'

# --- the pool runs out
for n in 1 2 3 4 5; do
	claim "n$n" "n$n.example"
	commit "n$n" "$(head_json "n$n" 1 "$(http_route "n$n.example" /)" "$(slot_json 0 "n$n-web-0-a" 127.0.0.2)")"
	facts "n$n" "$(fact_json "n$n-web-0-a" "n$n" ready 127.0.0.2)"
done
applied >"$work/out"
is "$(get n1.example /)$(get n5.example /)$(get shop.example /)" 127.0.0.2127.0.0.2127.0.0.3 \
	'more services than the pool has places are served after a reload'
like "$(routes)" '"key": *"n5.example/"' 'routes lists them'

# --- connections that a reload left to the older process
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; sleep 4' "127.0.0.1:$tcp_port" &
end_later $!
within 5 routes_show '"connections": *1'
last_port=$(free_port)
claim more "tcp/$last_port"
commit more "$(head_json more 1 "$(tcp_route "$last_port")" "$(slot_json 0 more-web-0-a 127.0.0.4)")"
applied >"$work/out"
like "$(drained 300 tcp-web-0-a)" '"connections": *1' 'a connection of the process before the reload counts'
like "$(drained 9000 tcp-web-0-a)" '"connections": *0' 'and is waited for'

# --- a connection to an instance that has ended, whose end is never sent
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; sysread($s, $b, 1); print "end"' \
	"127.0.0.1:$tcp_port" >"$work/ended.out" &
holder=$!
end_later $holder
within 5 routes_show '"connections": *1'
facts tcp "$(fact_json tcp-web-0-a tcp draining 127.0.0.4),$(fact_json tcp-web-0-b tcp ready 127.0.0.3)"
commit tcp "$(head_json tcp 2 "$(tcp_route "$tcp_port")" "$(slot_json 0 tcp-web-0-b 127.0.0.3)")"
applied >"$work/out"
like "$(drained 300 tcp-web-0-a)" '"connections": *1' 'while it drains it is left alone'
facts tcp "$(fact_json tcp-web-0-a tcp gone 127.0.0.4),$(fact_json tcp-web-0-b tcp ready 127.0.0.3)"
ok 'once its instance is gone it is ended' within 5 gone "$holder"
is "$(cat "$work/ended.out")" end 'which its client sees'

# --- headers, and a tunnel
perl -MIO::Socket::INET -e '
	$l = IO::Socket::INET->new(Listen => 5, LocalAddr => $ARGV[0], ReuseAddr => 1) or die;
	while ($c = $l->accept) {
		$head = ""; while (<$c>) { last if /^\r?$/; $head .= $_ }
		if ($head =~ /^Upgrade/mi) {
			print $c "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
			$c->flush; sysread($c, $b, 100); syswrite($c, "echo $b");
		} else { print $c "HTTP/1.1 200 OK\r\nContent-Length: " . length($head) . "\r\nConnection: close\r\n\r\n$head" }
		close $c }' "127.0.0.5:$app_port" >"$work/echo.log" 2>&1 &
end_later $!
within 5 listens "127.0.0.5:$app_port"
claim echo echo.example
commit echo "$(head_json echo 1 "$(http_route echo.example /)" "$(slot_json 0 echo-web-0-a 127.0.0.5)")"
facts echo "$(fact_json echo-web-0-a echo ready 127.0.0.5)"
applied >"$work/out"
request=$(curl -s --max-time 5 -H 'Host: echo.example' -H 'X-Forwarded-For: 6.6.6.6' "http://$gateway/" | tr -d '\r' | tr 'A-Z' 'a-z')
like "$request" '^x-forwarded-for: 127.0.0.1$' "the client's own X-Forwarded-For is replaced"
unlike "$request" '6\.6\.6\.6' 'and not passed on'
like "$request" '^x-forwarded-proto: http$' 'X-Forwarded-Proto is set'
like "$request" '^x-forwarded-host: echo.example$' 'X-Forwarded-Host is set'
is "$(perl -MIO::Socket::INET -e '
	$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; $s->autoflush(1);
	print $s "GET / HTTP/1.1\r\nHost: echo.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	while (<$s>) { last if /^\r?$/ } print $s "hello"; sysread($s, $b, 100); print $b' "$gateway")" 'echo hello' \
	'an upgraded connection is passed through'

# --- a reload that fails
# The pool is full: one backend becomes free.
commit n5 "$(head_json n5 2 '' '')"
drained 5000 n5-web-0-a >"$work/out"
mv "$run_dir/haproxy-master.sock" "$run_dir/moved"
new_port=$(free_port)
claim new new.example "tcp/$new_port"
commit new "$(head_json new 1 "$(http_route new.example /),$(tcp_route "$new_port")" "$(slot_json 0 new-web-0-a 127.0.0.2)")"
facts new "$(fact_json new-web-0-a new ready 127.0.0.2)"
like "$(applied new)" "\"unserved\":\[\"tcp/$new_port: HAProxy has no backend for it: cannot reload HAProxy: its master does not answer" \
	'a route that needs a reload that fails is named'
is "$(get new.example /)" 127.0.0.2 'everything else of the namespace is served'
unlike "$(applied shop)" unserved 'and other namespaces are confirmed'
like "$(routes)" "\"key\":\"tcp/$new_port\",.*\"error\":\"HAProxy has no backend" 'routes shows the error'
like "$(status)" "\"unserved\":.*tcp/$new_port of new/web is not served" 'so does status'
mv "$run_dir/moved" "$run_dir/haproxy-master.sock"
kill -KILL "$routed_pid"
wait "$routed_pid" 2>/dev/null
routed_start
ok 'after a reload it is served' within 20 listens_as 127.0.0.2 "127.0.0.1:$new_port"
unlike "$(applied new)" unserved 'and confirmed'

# --- a local mirror and a store that are behind what was served

# servers_end: the store and the local bus.
servers_end() {
	end_pid "$bus_pid"
	end_pid "$store_pid"
}

routed_end() {
	kill -KILL "$routed_pid"
	wait "$routed_pid" 2>/dev/null
}

mirrored() {
	bus "$bus_url" request "\$JS.$bus_machine.API.STREAM.INFO.$1" '' | grep -q "\"last_seq\": *$2,"
}

is_served() {
	[ "$(get shop.example /)" = "$1" ]
}

# What it serves, and that HAProxy is still told nothing else.
stays_at() {
	is "$(get shop.example /)" "$1" "$2"
}

mirrors_make || bail "no mirrors: $(cat "$work/out")"
within 20 mirrored PLOYZ_INTENT "$intent" && within 20 mirrored PLOYZ_FACTS "$seen" || bail 'the mirrors do not follow'
servers_end
cp -a "$work/bus" "$work/bus.old"
cp -a "$work/store" "$work/store.old"
store_start && local_start && within 10 store_linked
facts shop "$(fact_json shop-web-0-c shop ready 127.0.0.4)"
ok 'the store is followed again' within 20 is_applied shop
stays_at 127.0.0.4 'a newer view is served and confirmed'

# The mirror of before, and no store.
routed_end
servers_end
rm -rf "$work/bus"
cp -a "$work/bus.old" "$work/bus"
local_start
routed_start
ok 'the mirror is there' within 10 mirrored PLOYZ_FACTS "$((seen - 1))"
like "$(applied shop)" 'NOT_READY.*cannot confirm generation 1' 'nothing is confirmed while neither store nor mirror is new enough'
stays_at 127.0.0.4 'an older mirror is not served'
like "$(status)" '"stale_since":"[^"]*","stale_reason":"' 'status has since when, and why'
like "$(routes)" '"stale_since":"[^"]*".*"address":"127.0.0.4:' 'routes has the saved view, marked as stale'
end_pid "$haproxy_pid"
run prepare
exits 0 'an HAProxy that starts meanwhile'
haproxy_start
stays_at 127.0.0.4 'has the saved view'
store_start
ok 'once the store is back it is followed' within 20 is_applied shop
stays_at 127.0.0.4 'with the same view'

# A mirror that is as new as the saved view.
# It attaches again to the store after 16 s or so.
ok 'the mirror follows again' within 40 mirrored PLOYZ_FACTS "$seen"
routed_end
end_pid "$store_pid"
routed_start
ok 'a mirror that is not behind is served' within 20 is_applied shop
like "$(applied shop)" '"stale_since"' 'and marked as stale'

# The store of before.
rm -rf "$work/store"
cp -a "$work/store.old" "$work/store"
store_start
ok 'a store that has lost entries is named' within 30 status_shows '"stale_reason":"entries of PLOYZ_FACTS are missing'
stays_at 127.0.0.4 'the last good view is served'
last=$seen
facts shop "$(fact_json shop-web-0-c shop ready 127.0.0.2)"
is "$seen" "$last" 'an entry of that store with a sequence that was seen already'
unlike "$(status)" '"applied":{"generation":2' 'is not taken'
stays_at 127.0.0.4 'and does not change the view'
routed_end
routed_start
ok 'nor after a restart' within 30 status_shows '"stale_reason":"entries of PLOYZ_FACTS are missing'
stays_at 127.0.0.4 'does it'
# The saved view remembers what it was made from.
routed_end
end_pid "$bus_pid"
rm -rf "$work/bus"
local_start
within 10 store_linked
routed_start
ok 'nor without the mirror' within 30 status_shows '"stale_reason":"[^"]*PLOYZ_FACTS'
stays_at 127.0.0.4 'although its sequences fit'
generation=2
ok 'an operator accepts the store' streams_make 1 test 2
ok 'then its view is served' within 30 is_served 127.0.0.2
ok 'and confirmed' within 10 is_applied shop
unlike "$(status)" 'stale_since' 'without being stale'
done_testing
