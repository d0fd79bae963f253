#!/bin/sh
# agentd against real nats-servers and a real container engine: locks, images, instances, facts, output.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"
. "$(dirname "$0")/lib/engine.sh"

engine_start || skip_all "$engine_reason"

bus=$BUILD/tool/bus
tag=t$$
image=plt-agentd:$tag
network=plt-agentd-$tag
bridge=plag$(($$ % 100000))
subnet=10.101.$((200 + $$ % 50))
facts=ployz.v1.intent.instances.$bus_machine
log_config='{"name":"PLOYZ_INTENT","subjects":["ployz.v1.intent.>"],"max_msgs_per_subject":256,"storage":"file","discard":"new","allow_rollup_hdrs":true,"deny_delete":true}'
epoch=1
deploy=d1

# ask VERB JSON: the answer in $out, the code in $code.
ask() {
	run "$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.$1" "$2"
}

# order NAME SLOT [MORE FIELDS OF THE SERVICE]: the request that starts an instance.
order() {
	printf '{"namespace":"%s","epoch":%d,"deploy":"%s","instance":"%s","slot":%d,"service":{"name":"%s","image":"%s"%s}}' \
		"$ns" "$epoch" "$deploy" "$ns-$1-$2-$deploy" "$2" "$1" "$image" "${3:+,$3}"
}

ref() {
	printf '{"namespace":"%s","epoch":%d,"deploy":"%s","instance":"%s"%s}' "$ns" "$epoch" "$deploy" "$1" "${2:+,$2}"
}

lock() {
	printf '{"namespace":"%s","epoch":%d,"deploy":"%s","holder":"m1","reserve":{%s}}' "$ns" "$epoch" "$deploy" "${1-}"
}

# The last fact of the namespace, one instance a line.
fact_lines() {
	"$bus" "$bus_url" last PLOYZ_INTENT "$facts.$ns" | sed 's/{"id"/\n{"id"/g'
}

# fact ID FIELD
fact() {
	fact_lines | grep -F "\"id\":\"$1\"" | sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}

fact_is() {
	[ "$(fact "$1" "$2")" = "$3" ]
}

agentd_start() {
	start "$work/agentd.log" agentd --bus "$bus_url" --machine "$bus_machine" --state "$work/agentd" \
		--run "$work" --config "$work/none" --credentials "$work/none" --engine "$DOCKER_HOST" \
		--network "$network" --bridge "$bridge" "$@"
	agentd_pid=$started
}

agentd_answers() {
	"$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.status" '{}'
}

clean() {
	for container in $(engine_containers "ployz.machine=$bus_machine"); do
		engine_api DELETE "/containers/$container?force=1&v=1"
	done
	engine_api DELETE "/networks/$network"
	engine_image_rm "$image"
}

# Containers of an engine that is shared carry this machine's label: it is the test's own.
bus_machine=m$tag
facts=ployz.v1.intent.instances.$bus_machine
ns=shop
at_end clean
ok 'the image is made' engine_image "$image" one
bus_start || bail 'the two servers did not start'
"$bus" "$bus_url" stream "$log_config" >"$work/out"

# Before this machine has a record.
agentd_start
ok 'it answers' within 10 agentd_answers
ask start "$(order web 0)"
exits 1 'without a machine record nothing is started'
like "$out$err" 'record is not in the log' 'and it says why'
machine='{"id":"'$bus_machine'","name":"'$bus_machine'","subnet":"'$subnet'.0/24","life_cycle":"active"}'
"$bus" "$bus_url" append "ployz.v1.intent.machine.$bus_machine" "$machine" 0 >"$work/out"
network_is_there() {
	engine_api GET "/networks/$network"
}
ok 'the network comes with the record' within 5 network_is_there
like "$(ip -4 addr show "$bridge")" "$subnet.1/24" 'its bridge has the first address'

# Locks.
ask lock "$(lock '"host_ports":[{"port":18777,"protocol":"tcp"}],"memory":1048576,"routes":["shop.example/"]')"
exits 0 'a lock is given'
ask lock '{"namespace":"other","epoch":1,"deploy":"dx","reserve":{"routes":["shop.example/"]}}'
like "$out$err" 'REFUSED.*shop.example/.*namespace shop' 'another namespace is refused the same route, naming who has it'
ask lock '{"namespace":"other","epoch":1,"deploy":"dx","reserve":{"host_ports":[{"port":18777,"protocol":"tcp"}]}}'
like "$out$err" 'REFUSED.*18777.*namespace shop' 'and the same host port'

# Images.
prepare() {
	printf '{"namespace":"%s","epoch":%d,"deploy":"%s","image":"%s","pull":"%s"}' "$ns" "$epoch" "$deploy" "$1" "$2"
}
prepared() {
	ask prepare "$(prepare "$1" "$2")"
	printf '%s' "$out" | grep -q "\"state\":\"$3\""
}
ok 'an image that is here is ready' within 5 prepared "$image" missing ready
like "$out" '"digest":"sha256:' 'and its id is told'
ok 'one that is not, and must not be fetched, has failed' within 5 prepared plt-none:1 never failed

# An instance.
ask start "$(order web 0 '"ports":{"http":{"port":8080}},"command":["/bin/testsvc","--port","8080"],"env":{"COLOR":"red"},"files":{"/etc/app.conf":"hello"},"publish":[{"port":"http","host_port":18777}]')"
exits 0 'a start is accepted'
id=$ns-web-0-$deploy
ok 'it becomes ready' within 10 fact_is "$id" state ready
address=$(fact "$id" address)
like "$address" "^$subnet\." 'its fact has its address'
is "$(curl -s --max-time 5 "http://$address:8080/env/COLOR")" red 'its environment'
is "$(curl -s --max-time 5 "http://$address:8080/file/etc/app.conf")" hello 'its file'
is "$(curl -s --max-time 5 "http://127.0.0.1:18777/env/COLOR")" red 'its published port'
before=$(engine_containers "ployz.machine=$bus_machine")
ask start "$(order web 0)"
like "$out" '"state":"ready"' 'asked again, it tells how it is'
is "$(engine_containers "ployz.machine=$bus_machine")" "$before" 'and makes no second container'
ask list '{"images":["'$image'","plt-none:1"]}'
like "$out" "\"id\":\"$id\"" 'the list shows it'
like "$out" '"port":18777.*"owner":"shop/web"' 'and its host port, with its owner'
if [ -n "${QUICK-}" ]; then cat "$work/agentd.log"; done_testing; fi
done_testing
