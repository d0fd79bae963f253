#!/bin/sh
# placerd against a real nats-server and store: its probe of this machine, and plans over two machines.
# agentd is played: the test needs answers that an engine cannot be made to give.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"

bus=$BUILD/tool/bus

# ask MACHINE VERB JSON: the answer in $out.
ask() {
	run "$bus" "$bus_url" request "ployz.v1.$1.placerd.$2" "$3"
}

# plan JSON-OF-REQUEST-FIELDS: by m1.
plan() {
	ask m1 plan "{$1}"
}

# append SUBJECT JSON: prints the sequence.
append() {
	"$bus" "$bus_url" append "ployz.v1.$1" "$2" any
}

intent() {
	append "intent.$1" "$2" >/dev/null
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
		--credentials "$work/none" --config "$work/none" --log-level 7 --gateway-http 127.0.0.1:8080 \
		--gateway-address 127.0.0.1
	within 10 grep -q ready "$work/$1.log"
}

has() {
	case $out in *"$1"*) pass "$2" ;; *) fail "$2" "$out" ;; esac
}

hasnt() {
	case $out in *"$1"*) fail "$2" "$out" ;; *) pass "$2" ;; esac
}

web='"web":{"image":"web:1","ports":{"http":{"port":80}},"routes":[{"http":{"port":"http","hosts":["shop.example"]}}]}'
manifest='"manifest":{"namespace":"shop","services":{'$web'}}'

bus_start || bail 'the two servers did not start'

# --- without streams, without members

run_placerd m1
m1_pid=$started
plan "$manifest"
has '"error"' 'no stream: no plan'
like "$out" 'PLOYZ_INTENT' 'the error names it'

ok 'the streams' "$bus" "$bus_url" streams
plan "$manifest"
has '"code":"NOT_READY"' 'no member record: an error, not a plan without machines'
has 'cannot plan namespace shop: the store has no member record' 'with the reason'
intent member.m3 '{"id":"m3","life_cycle":"removed"}'
intent member.m4 '{"id":"m4","life_cycle":"joining"}'
plan "$manifest"
has 'the store has no member record' 'removed and joining machines do not count'
intent member.m1 '{"id":"m1","life_cycle":"active","region":"home","zone":"a"}'
intent region.home '{"name":"home","role":"compute"}'

# --- the probe

ask m1 probe '{"images":["web:1"]}'
has '"machine":"m1"' 'a probe without agentd'
has '"engine":false' 'says that the engine cannot be reached'
like "$out" '"engine_error":"[^"]*agentd' 'and which daemon did not answer'
like "$out" '"memory":"?[1-9]' 'memory'
like "$out" '"cores":[1-9]' 'cores'
has "\"arch\":\"$(uname -m)\"" 'the architecture, as the kernel names it'
has "\"port\":$bus_port,\"protocol\":\"tcp\",\"address\":\"127.0.0.1\"" 'the port that the local bus listens on, with its address'
has '"gateway_http":["127.0.0.1:8080"],"gateway_address":"127.0.0.1"' 'where the gateway listens'
plan "$manifest"
has 'its container engine cannot be reached' 'nothing is placed on such a machine'

echo '{"ok":{"engine":true,"engine_version":"20.10","arch":"x86_64","disk":100,"disk_free":50,"host_ports":[{"port":'"$bus_port"',"protocol":"tcp","owner":"blog/blog"}],"images":[{"image":"web:1","digest":"sha256:one"}]}}' >"$work/m1.json"
play m1
within 5 plays m1
ask m1 probe '{"images":["web:1"]}'
has '"engine":true' 'a probe with agentd'
has '"digest":"sha256:one"' 'and the images that were asked for'
has "\"port\":$bus_port,\"protocol\":\"tcp\",\"owner\":\"blog/blog\"" 'a published port has its owner'
hasnt "$bus_port,\"protocol\":\"tcp\",\"address\"" 'and is not listed again as a listener'
like "$(cat "$work/m1.asked")" '"images":\["web:1"\]' 'agentd was asked for them'
ask all probe '{}'
has '"machine":"m1"' 'all machines are asked at once'

# --- plans

plan "$manifest"
has '"action":"start","machine":"m1"' 'a plan'
has '"why":"new service; the only machine"' 'with its reason'
has '"digest":"sha256:one"' 'with the image'\''s id'
has '"key":"shop.example/","service":"web","action":"add"' 'with the route'
has '"changes":true' 'something would be done'
hasnt '"head":' 'the namespace has no entry yet'
like "$(cat "$work/m1.asked")" '"images":\["web:1"\]' 'the manifest'\''s images were asked for'

intent namespace.blog '{"namespace":"blog","revision":1,"deploy":"b1","release":1,"routes":[{"key":"shop.example/","service":"blog","port":"http","host":"shop.example","path":"/"}],"services":[{"name":"blog"}]}'
plan "$manifest"
has 'cannot claim route shop.example/: it belongs to namespace blog' 'a route of another namespace is refused'
has '"path":"services.web.routes[0].http.hosts[0]"' 'by its path'
intent namespace.blog '{"namespace":"blog","revision":"one"}'
plan "$manifest"
like "$out" 'warnings.*cannot decode entry [0-9]* of ployz.v1.intent.namespace.blog' 'an entry that cannot be decoded is named'
has '"action":"start"' 'and blocks nobody else'
hasnt '"refusals"' 'as long as it has no claim'
intent route.shop%2Eexample '{"key":"shop.example","namespace":"blog","deploy":"b1","epoch":1}'
plan "$manifest"
has 'it belongs to namespace blog' 'the claims of a namespace that cannot be decoded count'
intent namespace.blog '{"namespace":"blog","revision":0}'
plan "$manifest"
hasnt '"refusals"' 'a claim whose namespace has the route no more does not'

intent namespace.shop '{"namespace":"shop","revision":"one"}'
plan "$manifest"
like "$out" 'cannot decode entry [0-9]* of namespace shop' 'but the own entry has to be readable'
opened=$(append intent.namespace.shop '{"namespace":"shop","revision":0,"open":{"deploy":"d1","epoch":1,"machine":"m1","since":"2026-01-01T00:00:00Z"}}')
plan "$manifest"
has 'deploy d1 of this namespace is open' 'an open deploy is named'
has '"sequence":0' 'nothing is committed yet'
plan "$manifest"',"deploy":"d1"'
hasnt 'is open since' 'but not in its own plan'

# --- the entry that a plan is made from

plan "$manifest"',"deploy":"d1","head":'"$opened"
has "\"head\":$opened" 'a plan names the entry it was made from'
later=$((opened + 1))
plan "$manifest"',"deploy":"d1","head":'"$later"
has '"code":"NOT_READY"' 'no plan from an older entry than asked for'
has "cannot plan namespace shop from entry $later: its last entry in the store is $opened" 'with both sequences'
start "$work/later.out" "$bus" "$bus_url" request ployz.v1.m1.placerd.plan "{$manifest,\"deploy\":\"d1\",\"head\":$later}"
later_pid=$started
planning() {
	"$bus" "$bus_url" request ployz.v1.m1.placerd.status '{}' | grep -q '"planning":1'
}
ok 'such a plan waits a moment' within 3 planning
intent namespace.shop '{"namespace":"shop","revision":0,"open":{"deploy":"d1","epoch":2,"machine":"m1"}}'
within 5 gone "$later_pid"
like "$(cat "$work/later.out")" "\"head\":$later" 'and is made when the entry arrives'
plan "$manifest"',"head":-1'
has '"code":"INVALID"' 'an entry below 0 is refused'

# --- the committed manifest

stored=$(append manifest.shop '{"namespace":"shop","revision":1,"deploy":"d1","manifest":{"namespace":"shop","services":{"web":{"image":"web:1","env":{"A":"1"}}}}}')
committed() {
	intent namespace.shop '{"namespace":"shop","revision":1,"deploy":"d1","hash":"h1","release":'"$1"',"services":[{"name":"web","digest":"sha256:one","slots":[{"slot":0,"instance":"shop-web-0-d1","machine":"m1","deploy":"d1","hash":"h0"}]}]}'
}
committed "$stored"
sed 's/"images"/"instances":[{"id":"shop-web-0-d1","namespace":"shop","service":"web","slot":0,"state":"ready","image":"web:1","digest":"sha256:one"}],"images"/' \
	"$work/m1.json" >"$work/m1.new" && mv "$work/m1.new" "$work/m1.json"
env='"manifest":{"namespace":"shop","services":{"web":{"image":"web:1","env":{"B":"2"}}}}'
plan "$env"
has '"why":"changed: env (+B -A)"' 'what changed is told from the committed manifest'
has '"action":"replace"' 'and the instance is replaced'
committed 4711
plan "$env"
has 'the committed manifest (revision 1, entry 4711 of PLOYZ_MANIFESTS) is not in the store' 'a manifest that is gone is named'
has 'in what is not known' 'and the plan is made without it'
other=$(append manifest.blog '{"namespace":"blog","revision":1,"deploy":"b1","manifest":{"namespace":"blog","services":{}}}')
committed "$other"
plan "$env"
has "entry $other of PLOYZ_MANIFESTS) is not in the store" 'another namespace'\''s manifest does not count'
unreadable=$(append manifest.shop '{"namespace":"shop"}')
committed "$unreadable"
plan "$env"
has "cannot decode entry $unreadable of PLOYZ_MANIFESTS" 'one that cannot be decoded is named'
has '"action":"replace"' 'and the plan is made without it'
committed "$stored"

# More namespaces than manifests are asked for at once.
i=0
while [ $i -lt 40 ]; do
	at=$(append "manifest.n$i" '{"namespace":"n'$i'","revision":1,"manifest":{"namespace":"n'$i'","services":{"s":{"image":"s:1"}}}}')
	intent "namespace.n$i" '{"namespace":"n'$i'","revision":1,"deploy":"x","release":'"$at"',"services":[{"name":"s"}]}'
	i=$((i + 1))
done
plan "$env"
hasnt 'what its instances request' 'every other namespace'\''s manifest is read'
intent namespace.n7 '{"namespace":"n7","revision":1,"deploy":"x","release":4712,"services":[{"name":"s"}]}'
plan "$env"
has 'the committed manifest of namespace n7 is not in the store' 'one that is gone is named'
hasnt 'manifest of namespace n8' 'and no other one'

# --- an image that has to run

plan "$env"',"digests":{"web":"sha256:old"}'
has 'it does not have image sha256:old, which the service has to run' 'a pinned image that no machine has is refused'
like "$(cat "$work/m1.asked")" '"images":\["web:1","sha256:old"\]' 'agentd was asked for its id'
sed 's/"images":\[/"images":[{"image":"sha256:old","digest":"sha256:old"},/' "$work/m1.json" >"$work/m1.new" &&
	mv "$work/m1.new" "$work/m1.json"
plan "$env"',"digests":{"web":"sha256:old"}'
has '"digest":"sha256:old"' 'one that is there is what will run'

# --- a port that something listens on

plan '"manifest":{"namespace":"tcp","services":{"t":{"image":"web:1","ports":{"p":{"port":80}},"routes":[{"tcp":{"port":"p","listen":'"$leaf_port"'}}]}}}'
has "cannot serve route tcp/$leaf_port: a program outside the cluster listens on port $leaf_port of machine m1" 'a tcp route on a port of another program is refused'
has '"path":"services.t.routes[0].tcp.listen"' 'by its path'
plan '"manifest":{"namespace":"tcp","services":{"t":{"image":"web:1","ports":{"p":{"port":80}},"routes":[{"tcp":{"port":"p","listen":8080}}]}}}'
has 'the gateway itself, for HTTP, listens on port 8080' 'one on the gateway'\''s own port, too'

# --- a second machine: first silent, then there, with its own build of the image

intent member.m2 '{"id":"m2","life_cycle":"active","region":"home","zone":"b"}'
intent member.m5 '{"id":"m5","life_cycle":"unheard-of"}'
two='"manifest":{"namespace":"two","services":{"web":{"image":"web:1","replicas":2}}}'
plan "$two"
has '"unreachable":["m2","m5"]' 'machines that do not answer are named, removed and joining ones are not asked'
like "$out" 'cannot decode entry [0-9]* of ployz.v1.intent.member.m5' 'so is a member record that cannot be decoded'
has '"machine":"m1"' 'the others take what there is'
intent member.m5 '{"id":"m5","life_cycle":"removed"}'
sed 's/sha256:one/sha256:two/g; s/"host_ports":\[[^]]*\],//; s/"instances":\[[^]]*\],//' "$work/m1.json" >"$work/m2.json"
play m2
within 5 plays m2
run_placerd m2
plan "$two"
has '"slot":0,"action":"start","machine":"m2"' 'a plan over two machines: the one with fewer instances first'
has '"slot":1,"action":"start","machine":"m1"' 'spread over both'
has 'is not the same on machines m2 and m1' 'two builds of one name are named'
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

# --- requests that are wrong

plan ''
like "$out" '"code":"INVALID".*manifest is missing' 'no manifest'
plan '"manifest":{"namespace":"shop","services":{"web":{"image":"web:1","routes":[{"http":{"port":"none","hosts":["a.example"]}}]}}}'
like "$out" '"error".*manifest\.services\.web\.routes' 'a manifest that contradicts itself'
ask m1 plan 'not json'
has '"error"' 'not JSON'
ask m1 status '{}'
like "$out" '"plans":[1-9]' 'its status'

# --- the store dies: no plan from an old state

kill -9 "$store_pid"
within 5 gone "$store_pid"
plan "$manifest"
has '"error"' 'without the store there is no plan'
ask m1 probe '{}'
has '"engine":true' 'but a probe'
store_start
planned() {
	plan "$two"
	case $out in *'"action":"start"'*) ;; *) false ;; esac
}
ok 'with the store plans are back' within 20 planned
ok 'the daemon is the same one all along' alive "$m1_pid"
kill -TERM "$m1_pid"
ok 'it ends on SIGTERM' within 5 gone "$m1_pid"
done_testing
