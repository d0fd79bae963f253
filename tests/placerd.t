#!/bin/sh
# placerd against a real nats-server and store: what it sees of this machine, and plans over two of them.
# agentd is played: the test needs answers that an engine cannot be made to give.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"

bus=$BUILD/tool/bus
log_config='{"name":"PLOYZ_INTENT","subjects":["ployz.v1.intent.>"],"max_msgs_per_subject":256,"storage":"file","discard":"new","allow_rollup_hdrs":true,"deny_delete":true}'

# ask MACHINE VERB JSON: the answer in $out.
ask() {
	run "$bus" "$bus_url" request "ployz.v1.$1.placerd.$2" "$3"
}

intent() {
	"$bus" "$bus_url" append "ployz.v1.intent.$1" "$2" any >/dev/null
}

# play MACHINE: an agentd that answers `list` with the file $work/MACHINE.json.
play() {
	start "$work/$1.asked" "$bus" "$bus_url" answer "ployz.v1.$1.agentd.list" "$work/$1.json"
}

plays() {
	"$bus" "$bus_url" request "ployz.v1.$1.agentd.list" '{}'
}

# run_placerd MACHINE
run_placerd() {
	start "$work/$1.log" placerd --bus "$bus_url" --machine "$1" --state "$work/$1.state" \
		--credentials "$work/none" --config "$work/none" --log-level 7
	within 10 grep -q ready "$work/$1.log"
}

has() {
	case $out in *"$1"*) pass "$2" ;; *) fail "$2" "$out" ;; esac
}

hasnt() {
	case $out in *"$1"*) fail "$2" "$out" ;; *) pass "$2" ;; esac
}

web='"web":{"image":"web:1","ports":{"http":{"port":80}},"routes":[{"http":{"port":"http","hosts":["shop.example"]}}]}'
manifest='{"namespace":"shop","services":{'$web'}}'

bus_start || bail 'the two servers did not start'

# Without the log there is nothing to plan from.
run_placerd m1
m1_pid=$started
ask m1 plan '{"manifest":'"$manifest"'}'
has '"error"' 'no log: no plan'

ok 'the log' "$bus" "$bus_url" stream "$log_config"
intent machine.m1 '{"id":"m1","life_cycle":"active","region":"home","zone":"a"}'
intent region.home '{"name":"home","role":"compute"}'

# The probe.
ask m1 probe '{"images":["web:1"]}'
has '"machine":"m1"' 'a probe without agentd'
has '"engine":false' 'says that the engine cannot be reached'
like "$out" '"engine_error":"[^"]*agentd' 'and who did not answer'
like "$out" '"memory":"?[1-9]' 'memory'
like "$out" '"cores":[1-9]' 'cores'
has "\"port\":$bus_port,\"protocol\":\"tcp\"" 'the port that the local bus listens on'
ask m1 plan '{"manifest":'"$manifest"'}'
has 'its engine cannot be reached' 'no plan onto such a machine'

echo '{"ok":{"engine":true,"engine_version":"20.10","arch":"x86_64","disk":100,"disk_free":50,"host_ports":[{"port":'"$bus_port"',"protocol":"tcp","owner":"blog/blog"}],"images":[{"image":"web:1","digest":"sha256:one"}]}}' >"$work/m1.json"
play m1
within 5 plays m1
ask m1 probe '{"images":["web:1"]}'
has '"engine":true' 'a probe with agentd'
has '"digest":"sha256:one"' 'and the images that were asked for'
has "\"port\":$bus_port,\"protocol\":\"tcp\",\"owner\":\"blog/blog\"" 'a published port has its owner'
like "$(cat "$work/m1.asked")" '"images":\["web:1"\]' 'agentd was asked for them'
ask all probe '{}'
has '"machine":"m1"' 'all machines are asked at once'

# Plans.
ask m1 plan '{"manifest":'"$manifest"'}'
has '"action":"start","machine":"m1"' 'a plan'
has '"why":"new service; the only machine"' 'with its reason'
has '"digest":"sha256:one"' 'with the image'\''s id'
has '"key":"shop.example/","service":"web","action":"add"' 'with the route'
has '"changes":true' 'something would be done'
like "$(cat "$work/m1.asked")" '"images":\["web:1"\]' 'the manifest'\''s images were asked for'

intent namespace.blog '{"namespace":"blog","revision":1,"deploy":"b1","manifest":{"namespace":"blog","services":{"blog":{"image":"b:1","ports":{"http":{"port":80}},"routes":[{"http":{"port":"http","hosts":["shop.example"]}}]}}},"services":[]}'
ask m1 plan '{"manifest":'"$manifest"'}'
has 'route shop.example/ belongs to service blog/blog already' 'a route of another namespace is refused'
has '"path":"services.web.routes[0]"' 'by its path'
intent namespace.blog '{"namespace":"blog","revision":"one"}'
ask m1 plan '{"manifest":'"$manifest"'}'
like "$out" 'warnings.*intent.namespace.blog cannot be read' 'an entry that cannot be read is told of'
has '"action":"start"' 'and holds up nobody else'
intent namespace.shop '{"namespace":"shop","revision":"one"}'
ask m1 plan '{"manifest":'"$manifest"'}'
has 'what is committed of namespace shop cannot be read' 'but the own one has to be readable'
intent namespace.shop '{"namespace":"shop","revision":0,"open":{"deploy":"d1","epoch":1,"machine":"m1","since":"2026-01-01T00:00:00Z"}}'
ask m1 plan '{"manifest":'"$manifest"'}'
has 'deploy d1 of this namespace is open' 'an open deploy is told of'
has '"sequence":0' 'nothing is committed yet'
ask m1 plan '{"manifest":'"$manifest"',"deploy":"d1"}'
hasnt 'is open since' 'but not to itself'

# A second machine: first silent, then there, with more room.
intent machine.m2 '{"id":"m2","life_cycle":"active","region":"home","zone":"b"}'
intent machine.m3 '{"id":"m3","life_cycle":"removed"}'
intent machine.m4 '{"id":"m4","life_cycle":"joining"}'
ask m1 plan '{"manifest":'"$manifest"'}'
has '"unreachable":["m2"]' 'a machine that does not answer is named, and nobody else'
has '"machine":"m1"' 'and left out'
sed 's/sha256:one/sha256:two/; s/"host_ports":\[[^]]*\],//' "$work/m1.json" >"$work/m2.json"
play m2
within 5 plays m2
run_placerd m2
two='{"namespace":"shop","services":{"web":{"image":"web:1","replicas":2}}}'
ask m1 plan '{"manifest":'"$two"'}'
has '"slot":0,"action":"start","machine":"m1"' 'a plan over two machines'
has '"slot":1,"action":"start","machine":"m2"' 'spread over both'
has 'is not the same on machines m1 and m2' 'two builds of one name are told of'
hasnt unreachable 'both answered'

# Several at once; each gets its own.
for i in 1 2 3 4 5 6 7 8; do
	"$bus" "$bus_url" request ployz.v1.m2.placerd.plan \
		'{"manifest":{"namespace":"ns'$i'","services":{"web":{"image":"web:1"}}}}' >"$work/plan.$i" &
	pids="${pids-} $!"
done
for pid in $pids; do
	wait "$pid"
done
is "$(cat "$work"/plan.[1-8] | grep -c '"action":"start"')" 8 'eight plans at once'
is "$(grep -c '"namespace":"ns3"' "$work/plan.3")" 1 'each its own'

# What is asked wrongly.
ask m1 plan '{}'
like "$out" '"code":"INVALID".*manifest is missing' 'no manifest'
ask m1 plan '{"manifest":{"namespace":"shop","services":{"web":{"image":"web:1","routes":[{"http":{"port":"none","hosts":["a.example"]}}]}}}}'
like "$out" '"error".*manifest\.services\.web\.routes' 'a manifest that contradicts itself'
ask m1 plan 'not json'
has '"error"' 'what is no JSON'
ask m1 status '{}'
like "$out" '"plans":[1-9]' 'its status'

# The store dies: no plan from yesterday's news.
kill -9 "$store_pid"
within 5 gone "$store_pid"
ask m1 plan '{"manifest":'"$manifest"'}'
has '"error"' 'without the store there is no plan'
ask m1 probe '{}'
has '"engine":true' 'but a probe'
store_start
planned() {
	ask m1 plan '{"manifest":'"$manifest"'}'
	case $out in *'"action":"start"'*) ;; *) false ;; esac
}
ok 'with the store plans are back' within 20 planned
ok 'the daemon is the same one all along' alive "$m1_pid"
kill -TERM "$m1_pid"
ok 'it ends when told to' within 5 gone "$m1_pid"
done_testing
