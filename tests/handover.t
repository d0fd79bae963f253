#!/bin/sh
# lib/bus and lib/handoff, where nats.c's threads meet the loop, under load against a real nats-server.
# `make check-thread` runs this with ThreadSanitizer.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"

port=$(free_port)
http_port=$(free_port)
url=nats://127.0.0.1:$port
log=$work/storm.log
printf 'listen: 127.0.0.1:%s\nhttp: 127.0.0.1:%s\nmax_payload: 8MB\n' "$port" "$http_port" >"$work/nats.conf"

server_start() {
	start "$work/nats.log" nats-server -c "$work/nats.conf"
	server_pid=$started
	within 10 listens "127.0.0.1:$port"
}

# said WORD COUNT: the log has the word that often.
said() {
	[ "$(grep -c "^$1\$" "$log")" -ge "$2" ]
}

# How many messages the server has sent to its clients.
sent() {
	curl -sf --max-time 10 "http://127.0.0.1:$http_port/varz" | sed -n 's/^ *"out_msgs": *\([0-9]*\),*$/\1/p'
}

server_start || bail 'nats-server did not start'
within 5 listens "127.0.0.1:$http_port"

before=$(sent)
ok 'messages to an inbox' flood "$url" inbox 1000
is "$(($(sent) - before))" 1000 'each is sent once'

# nats.c up to 3.5 crashes here when a subscription is destroyed too soon.
ok 'messages and requests both ways, while subscriptions are created and freed' handover "$url" traffic 20000
ok 'more messages than the queue holds, while the loop is blocked' flood "$url" held
ok 'buses freed while messages and answers arrive' handover "$url" turnover 60

start "$log" handover "$url" storm
storm_pid=$started
ok 'a storm of losses begins' within 10 said begun 1
for round in 1 2 3; do
	kill -9 "$server_pid"
	ok "the server is killed ($round): the loss is reported" within 10 said lost "$round"
	server_start || bail 'nats-server did not start again'
	ok "and it continues when the server is back ($round)" within 10 said back "$round"
done
ok 'the end is requested' bus "$url" publish handover.end ''
within 30 gone "$storm_pid" || diag 'it does not end'
wait "$storm_pid"
is "$?" 0 'nothing was repeated, out of order, or delivered to a freed receiver' || diag "$(cat "$log")"

done_testing
