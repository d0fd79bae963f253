#!/bin/sh
# routed between a real nats-server and a real HAProxy: what the log says is what the gateway does.
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

log_append() {
	bus "$bus_url" append "$1" "$2" any ${3-}
}

# backend ADDRESS: an HTTP server there that says who it is.
backend() {
	mkdir -p "$work/www/$1/sub"
	echo "$1" >"$work/www/$1/index.html"
	echo "$1 sub" >"$work/www/$1/sub/index.html"
	start "$work/httpd.log" busybox httpd -f -p "$1:$app_port" -h "$work/www/$1"
	within 5 listens "$1:$app_port"
}

# head NS REVISION ROUTES SLOTS: ROUTES and SLOTS are JSON, without their brackets.
head_json() {
	printf '{"namespace":"%s","revision":%s,"deploy":"d%s","manifest":{"namespace":"%s","services":{"web":{"image":"x","ports":{"http":{"port":%s}},"routes":[%s]}}},"services":[{"name":"web","slots":[%s]}]}' \
		"$1" "$2" "$2" "$1" "$app_port" "$3" "$4"
}

slot_json() {
	printf '{"slot":%s,"instance":"%s","machine":"m1","address":"%s"}' "$1" "$2" "$3"
}

fact_json() {
	printf '{"id":"%s","namespace":"%s","service":"web","slot":0,"deploy":"d1","epoch":1,"state":"%s","address":"%s","ports":{"http":{"port":%s}}}' \
		"$1" "$2" "$3" "$4" "$app_port"
}

# facts NS FACT,FACT…
facts() {
	log_append "ployz.v1.intent.instances.m1.$1" \
		"{\"machine\":\"m1\",\"namespace\":\"$1\",\"instances\":[$2]}" rollup
}

commit() {
	log_append "ployz.v1.intent.namespace.$1" "$2"
}

applied() {
	bus "$bus_url" request ployz.v1.m1.routed.applied "{\"sequence\":$1}" 10
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

# haproxy_says COMMAND: of its runtime socket.
haproxy_says() {
	perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new($ARGV[0]) or die; print $s "$ARGV[1]\n"; print <$s>' \
		"$run_dir/haproxy.sock" "$1"
}

# A request that is held is on its second try at least.
waits_again() {
	[ "$(haproxy_says 'show stat -1 4 -1' | awk -F, '$2 == "hold" { n += $16 } END { print n + 0 }')" -ge 2 ]
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

http_route() {
	printf '{"http":{"port":"http","hosts":["%s"],"path":"%s","strip":%s}}' "$1" "$2" "${3:-false}"
}

bus_start || bail 'the bus did not start'
bus "$bus_url" stream '{"name":"PLOYZ_INTENT","subjects":["ployz.v1.intent.>"],"storage":"file","max_msgs_per_subject":256,"allow_rollup_hdrs":true}' \
	>/dev/null || bail 'no stream'
for n in 2 3 4; do backend 127.0.0.$n; done

# --- prepare
start "$work/other.log" perl -MIO::Socket::INET -e \
	'$l = IO::Socket::INET->new(Listen => 5, LocalAddr => $ARGV[0], ReuseAddr => 1) or die; sleep 60' "$gateway"
other=$started
within 5 listens "$gateway"
run prepare
exits 1 'a gateway port that is in use is refused'
like "$err" "cannot listen on $gateway .*gateway-http" 'and the sentence says which, and what to do'
end_pid "$other"
run prepare
exits 0 'prepare writes a configuration without any routes'
ok 'HAProxy takes it without a warning' sh -c "! haproxy -c -f '$run_dir/haproxy.cfg' 2>&1 | grep -E 'WARN|ALERT'"

haproxy_start || bail "no HAProxy: $(cat "$work/haproxy.log")"
routed_start || bail "no routed: $(cat "$work/routed.log")"

# --- routes
facts shop "$(fact_json shop-web-0-a shop ready 127.0.0.2)" >/dev/null
head_a=$(head_json shop 1 "$(http_route shop.example /),$(http_route '*.wild.example' /),$(http_route shop.example /api true)" \
	"$(slot_json 0 shop-web-0-a 127.0.0.2)")
sequence=$(commit shop "$head_a")
like "$(applied "$sequence")" "\"sequence\": *$sequence" 'applied is answered'
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
facts shop "$(fact_json shop-web-0-a shop ready 127.0.0.2),$(fact_json shop-web-0-b shop ready 127.0.0.3)" >/dev/null
sequence=$(commit shop "$(head_json shop 2 "$(http_route shop.example /)" "$(slot_json 0 shop-web-0-b 127.0.0.3)")")
applied "$sequence" >/dev/null
is "$(get shop.example /)" 127.0.0.3 'after the commit the new instance answers'
like "$(bus "$bus_url" request ployz.v1.m1.routed.drained '{"instances":["shop-web-0-a"],"wait_ms":5000}' 10)" \
	'"connections": *0' 'the old one is drained'
touch "$work/enough"
wait "$load_pid"
is "$(sort -u "$work/load.out")" 200 'no request failed meanwhile'
is "$(get_status a.wild.example /)" 404 'a route that the head names no more is gone'

# --- each of those that come together is asked in its turn from the first request on, also in a backend that others had
asked_of() { # asked_of REVISION: how many of three have answered three requests
	all= slots= slot=0
	for address in 127.0.0.2 127.0.0.3 127.0.0.4; do
		all=$all${all:+,}$(fact_json "more-web-$slot-$1" more ready $address)
		slots=$slots${slots:+,}$(slot_json $slot "more-web-$slot-$1" $address)
		slot=$((slot + 1))
	done
	facts more "$all" >/dev/null
	applied "$(commit more "$(head_json more "$1" "$(http_route more.example /)" "$slots")")" >/dev/null
	for _ in 1 2 3; do
		get more.example /
	done | sort -u | grep -c .
	applied "$(commit more "$(head_json more "$(($1 + 1))" '' '')")" >/dev/null
	bus "$bus_url" request ployz.v1.m1.routed.drained "{\"instances\":[\"more-web-0-$1\",\"more-web-1-$1\",\"more-web-2-$1\"],\"wait_ms\":5000}" 10 \
		>/dev/null
}
is "$(for revision in 1 3 5 7 9 11 13 15; do asked_of $revision; done | tr '\n' ' ')" '3 3 3 3 3 3 3 3 ' \
	'three that come are all asked with three requests'

# --- a connection that stays is waited for
sequence=$(commit tcp "$(head_json tcp 1 "{\"tcp\":{\"port\":\"http\",\"listen\":$tcp_port}}" "$(slot_json 0 tcp-web-0-a 127.0.0.4)")")
sequence=$(facts tcp "$(fact_json tcp-web-0-a tcp ready 127.0.0.4)")
applied "$sequence" >/dev/null
is "$(curl -s --max-time 5 "http://127.0.0.1:$tcp_port/")" 127.0.0.4 'a tcp route listens, after a reload'
is "$(get shop.example /)" 127.0.0.3 'and the others are as they were'
is "$(field reloads "$(status)")" 1 'that was one reload'
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; sleep 3' "127.0.0.1:$tcp_port" &
holder=$!
end_later $holder
within 5 sh -c "bus $bus_url request ployz.v1.m1.routed.routes '{}' 5 | grep -q '\"connections\": *1'"
like "$(bus "$bus_url" request ployz.v1.m1.routed.drained '{"instances":["tcp-web-0-a"],"wait_ms":300}' 10)" \
	'"connections": *1' 'drained says what is left when the wait is over'
like "$(bus "$bus_url" request ployz.v1.m1.routed.drained '{"instances":["tcp-web-0-a"],"wait_ms":9000}' 12)" \
	'"connections": *0' 'and waits until it has ended'

# --- nothing ready; held over a stop-first switch
sequence=$(facts shop "$(fact_json shop-web-0-b shop unready 127.0.0.3)")
applied "$sequence" >/dev/null
is "$(get_status shop.example /)" 503 'no ready instance is 503'
like "$(get shop.example /)" 'shop/web/http has no ready instance' 'and says so'
two="$(slot_json 0 shop-web-0-b 127.0.0.3),$(slot_json 1 shop-web-1-b 127.0.0.4)"
commit shop "$(head_json shop 3 "$(http_route shop.example /)" "$two")" >/dev/null
bus "$bus_url" request ployz.v1.m1.routed.drained \
	"{\"instances\":[\"shop-web-0-b\"],\"sequence\":$((sequence + 2)),\"wait_ms\":15000}" 20 >"$work/drained.out" &
drained=$!
applied $((sequence + 1)) >/dev/null
applied $((sequence + 1)) >/dev/null
is "$(cat "$work/drained.out")" '' 'what the gateway does not know to drain has not drained'
sequence=$(facts shop "$(fact_json shop-web-0-b shop stopped 127.0.0.3),$(fact_json shop-web-1-b shop draining 127.0.0.4)")
wait "$drained"
like "$(cat "$work/drained.out")" '"connections": *0' 'and has, when it knows'
get shop.example / >"$work/held.out" &
held=$!
ok 'a request waits while both replicas are away, and is tried again each second' within 10 waits_again
like "$(bus "$bus_url" request ployz.v1.m1.routed.routes '{}' 5)" '"state": *"held"' 'routes shows it'
like "$(cat "$run_dir/haproxy.cfg")" 'server hold 127.0.0.1:1$' 'a HAProxy that starts meanwhile lets them wait, too'
facts shop "$(fact_json shop-web-0-b shop stopped 127.0.0.9),$(fact_json shop-web-0-c shop ready 127.0.0.2)" >/dev/null
commit shop "$(head_json shop 4 "$(http_route shop.example /)" "$(slot_json 0 shop-web-0-c 127.0.0.2)")" >/dev/null
wait "$held"
is "$(cat "$work/held.out")" 127.0.0.2 'a request is held until the new instance is there'

# --- one bad route, one bad entry
sequence=$(commit late "$(head_json late 1 "$(http_route shop.example /),$(http_route late.example /)" "$(slot_json 0 late-web-0-a 127.0.0.4)")")
sequence=$(facts late "$(fact_json late-web-0-a late ready 127.0.0.4)")
applied "$sequence" >/dev/null
is "$(get shop.example /)" 127.0.0.2 'a route that another namespace has stays where it is'
is "$(get late.example /)" 127.0.0.4 'and the rest of the other one is served'
like "$(status)" 'shop.example/ of late/web is not served' 'status names it'
sequence=$(commit late '{"namespace":"late","revision":"x"}')
applied "$sequence" >/dev/null
is "$(get late.example /)" 127.0.0.4 'an entry that cannot be read leaves the last good one'
like "$(status)" 'namespace.late: entry [0-9]+ cannot be read' 'and is named'

# --- who dies
worker=$(field pid "$(status)")
kill -KILL "$routed_pid"
wait "$routed_pid" 2>/dev/null
is "$(get shop.example /)" 127.0.0.2 'the gateway outlives routed'
routed_start
within 5 sh -c "bus $bus_url request ployz.v1.m1.routed.status '{}' 5 | grep -q '\"answers\": *true'"
is "$(field pid "$(status)")" "$worker" 'a new routed adopts the HAProxy that runs'
is "$(field reloads "$(status)")" 0 'without a reload'
end_pid "$haproxy_pid"
within 5 sh -c "bus $bus_url request ployz.v1.m1.routed.status '{}' 5 | grep -q '\"answers\": *false'"
like "$(status)" 'does not answer at' 'status says that HAProxy is not there'
sequence=$(facts shop "$(fact_json shop-web-0-c shop ready 127.0.0.3)")
run prepare
exits 0 'prepare writes the table that was last'
haproxy_start
applied "$sequence" >/dev/null
is "$(get shop.example /)" 127.0.0.3 'a new HAProxy is brought up to date'

# --- the pool runs out
for n in 1 2 3 4 5; do
	sequence=$(commit "n$n" "$(head_json "n$n" 1 "$(http_route "n$n.example" /)" "$(slot_json 0 "n$n-web-0-a" 127.0.0.2)")")
	sequence=$(facts "n$n" "$(fact_json "n$n-web-0-a" "n$n" ready 127.0.0.2)")
done
applied "$sequence" >/dev/null
is "$(get n1.example /)$(get n5.example /)$(get shop.example /)" 127.0.0.2127.0.0.2127.0.0.3 \
	'more services than the pool has places are served after a reload'
like "$(bus "$bus_url" request ployz.v1.m1.routed.routes '{}' 5)" '"key": *"n5.example/"' 'routes lists them'

# --- connections that a reload left to the older process
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; sleep 4' "127.0.0.1:$tcp_port" &
end_later $!
within 5 sh -c "bus $bus_url request ployz.v1.m1.routed.routes '{}' 5 | grep -q '\"connections\": *1'"
other_port=$(free_port)
sequence=$(commit more "$(head_json more 1 "{\"tcp\":{\"port\":\"http\",\"listen\":$other_port}}" "$(slot_json 0 more-web-0-a 127.0.0.4)")")
applied "$sequence" >/dev/null
like "$(bus "$bus_url" request ployz.v1.m1.routed.drained '{"instances":["tcp-web-0-a"],"wait_ms":300}' 10)" \
	'"connections": *1' 'a connection of the process before the reload counts'
like "$(bus "$bus_url" request ployz.v1.m1.routed.drained '{"instances":["tcp-web-0-a"],"wait_ms":9000}' 12)" \
	'"connections": *0' 'and is waited for'

# --- a connection to what has ended, whose end nobody tells
perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; sysread($s, $b, 1); print "end"' \
	"127.0.0.1:$tcp_port" >"$work/ended.out" &
holder=$!
end_later $holder
within 5 sh -c "bus $bus_url request ployz.v1.m1.routed.routes '{}' 5 | grep -q '\"connections\": *1'"
facts tcp "$(fact_json tcp-web-0-a tcp draining 127.0.0.4),$(fact_json tcp-web-0-b tcp ready 127.0.0.3)" >/dev/null
sequence=$(commit tcp "$(head_json tcp 2 "{\"tcp\":{\"port\":\"http\",\"listen\":$tcp_port}}" "$(slot_json 0 tcp-web-0-b 127.0.0.3)")")
applied "$sequence" >/dev/null
like "$(bus "$bus_url" request ployz.v1.m1.routed.drained '{"instances":["tcp-web-0-a"],"wait_ms":300}' 10)" \
	'"connections": *1' 'while it drains it is left alone'
facts tcp "$(fact_json tcp-web-0-a tcp gone 127.0.0.4),$(fact_json tcp-web-0-b tcp ready 127.0.0.3)" >/dev/null
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
sequence=$(commit echo "$(head_json echo 1 "$(http_route echo.example /)" "$(slot_json 0 echo-web-0-a 127.0.0.5)")")
sequence=$(facts echo "$(fact_json echo-web-0-a echo ready 127.0.0.5)")
applied "$sequence" >/dev/null
seen=$(curl -s --max-time 5 -H 'Host: echo.example' -H 'X-Forwarded-For: 6.6.6.6' "http://$gateway/" | tr -d '\r' | tr 'A-Z' 'a-z')
like "$seen" '^x-forwarded-for: 127.0.0.1$' "the client's own X-Forwarded-For is replaced"
unlike "$seen" '6\.6\.6\.6' 'and not passed on'
like "$seen" '^x-forwarded-proto: http$' 'X-Forwarded-Proto is set'
like "$seen" '^x-forwarded-host: echo.example$' 'X-Forwarded-Host is set'
is "$(perl -MIO::Socket::INET -e '
	$s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die; $s->autoflush(1);
	print $s "GET / HTTP/1.1\r\nHost: echo.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
	while (<$s>) { last if /^\r?$/ } print $s "hello"; sysread($s, $b, 100); print $b' "$gateway")" 'echo hello' \
	'an upgraded connection is passed through'
done_testing
