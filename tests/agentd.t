#!/bin/sh
# agentd against real nats-servers and a real container engine: locks, images, instances, facts, output, presumed abort.
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
subnet=10.101.$(subnet_number)
# An engine that ends leaves its link behind.
at_end "ip link del $bridge 2>/dev/null"
epoch=1
deploy=d1
opened=0
host_port=$(free_port)
second_port=$(free_port)

# ask VERB JSON: the answer in $out, the code in $code.
ask() {
	run "$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.$1" "$2"
}

# What every command begins with.
fields() {
	printf '"namespace":"%s","epoch":%d,"deploy":"%s","generation":1,"opened":%d' "$ns" "$epoch" "$deploy" "$opened"
}

# slots SERVICE=INSTANCE…: services of a head that name these instances.
slots() {
	slots_text=
	for slot; do
		slots_text=$slots_text${slots_text:+,}$(printf '{"name":"%s","slots":[{"slot":0,"instance":"%s","machine":"%s","deploy":"%s"}]}' \
			"${slot%%=*}" "${slot#*=}" "$bus_machine" "${slot##*-}")
	done
	printf '[%s]' "$slots_text"
}

# head OPEN COMMITTED SERVICES: appends the head of $ns, written by $deploy; its sequence in $opened.
head_append() {
	"$bus" "$bus_url" append "ployz.v1.intent.namespace.$ns" \
		"$(printf '{"namespace":"%s","writer":"%s","epoch":%d,"generation":1,"deploy":"%s","services":%s%s}' \
			"$ns" "$deploy" "$epoch" "$2" "$3" "$1")" any >"$work/sequence"
	opened=$(cat "$work/sequence")
}

# open_deploy DEPLOY EPOCH [COMMITTED [SLOTS…]]: its opening entry.
open_deploy() {
	deploy=$1 epoch=$2 committed=${3-}
	shift 2
	[ $# -eq 0 ] || shift
	head_append "$(printf ',"open":{"deploy":"%s","epoch":%d,"generation":1}' "$deploy" "$epoch")" "$committed" \
		"$(slots "$@")"
}

# commit SLOTS…: an entry that $deploy commits; close_deploy COMMITTED SLOTS…: one that closes it without.
commit() {
	kept=$opened
	head_append '' "$deploy" "$(slots "$@")"
	opened=$kept
}

close_deploy() {
	kept=$opened
	close_committed=$1
	shift
	head_append '' "$close_committed" "$(slots "$@")"
	opened=$kept
}

# order NAME SLOT [MORE FIELDS OF THE SERVICE [MORE FIELDS OF THE REQUEST]]: the request that starts an instance.
order() {
	printf '{%s,"instance":"%s","slot":%d,"service":{"name":"%s","image":"%s"%s}%s}' \
		"$(fields)" "$ns-$1-$2-$deploy" "$2" "$1" "$image" "${3:+,$3}" "${4:+,$4}"
}

ref() {
	printf '{%s,"instance":"%s"%s}' "$(fields)" "$1" "${2:+,$2}"
}

lock() {
	printf '{%s,"holder":"m1","reserve":{%s}}' "$(fields)" "${1-}"
}

# The last fact of the namespace, one instance a line.
fact_lines() {
	"$bus" "$bus_url" last PLOYZ_FACTS "$facts.$ns" | sed 's/{"id"/\n{"id"/g'
}

# fact ID FIELD
fact() {
	fact_lines | grep -F "\"id\":\"$1\"" | sed -n "s/.*\"$2\":\"\{0,1\}\([^\",}]*\).*/\1/p"
}

# Podman 4 raises its limits where this machine may not.
engine_ulimits() {
	printf ',"Ulimits":[{"Name":"nofile","Soft":1024,"Hard":1024},{"Name":"nproc","Soft":1024,"Hard":1024}]'
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
facts=ployz.v1.facts.$bus_machine
ns=shop
at_end clean
ok 'the image is made' engine_image "$image" one
bus_start || bail 'the two servers did not start'
streams_make || bail 'the streams were not made'
open_deploy d1 1

# Before this machine has a record.
agentd_start
ok 'it answers' within 10 agentd_answers
ask lock "$(lock)"
ask start "$(order web 0)"
like "$out" 'NOT_READY.*no member record' 'without a member record nothing is started, and it says why'
machine='{"id":"'$bus_machine'","name":"'$bus_machine'","subnet":"'$subnet'.0/24","life_cycle":"active"}'
"$bus" "$bus_url" append "ployz.v1.intent.member.$bus_machine" "$machine" 0 >"$work/out"
network_is_there() {
	engine_api GET "/networks/$network"
}
ok 'the network comes with the record' within 5 network_is_there

# Locks.
ask lock "$(lock '"host_ports":[{"port":'"$host_port"',"protocol":"tcp"}],"memory":1048576,"routes":["shop.example/"]')"
exits 0 'a lock is given'
shop_opened=$opened
ns=other
open_deploy dx 1
ask lock "$(lock '"routes":["shop.example/"]')"
like "$out$err" 'REFUSED.*shop.example/.*namespace shop' 'another namespace is refused the same route, naming who has it'
ask lock "$(lock '"host_ports":[{"port":'"$host_port"',"protocol":"tcp"}]')"
like "$out$err" "REFUSED.*$host_port.*namespace shop" 'and the same host port'
ns=shop deploy=d1 opened=$shop_opened
# A holder renews its lock with its lease.
renew() {
	while sleep 8; do
		"$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.list" "{$(fields)}" >"$work/renewal"
	done
}
renewed() {
	[ -z "${renew_pid-}" ] || end_pid "$renew_pid"
	renew &
	renew_pid=$!
	end_later "$renew_pid"
}
renewed

# Images.
prepare() {
	printf '{%s,"image":"%s","pull":"%s"}' "$(fields)" "$1" "$2"
}
prepared() {
	ask prepare "$(prepare "$1" "$2")"
	printf '%s' "$out" | grep -q "\"state\":\"$3\""
}
ok 'an image that is here is ready' within 5 prepared "$image" missing ready
prepared "$image" missing ready
like "$out" '"digest":"sha256:' 'and its id is told'
ok 'one that is not, and must not be fetched, has failed' within 5 prepared plt-none:1 never failed

# An instance.
ask start "$(order web 0 '"ports":{"http":{"port":8080}},"command":["/bin/testsvc","--port","8080"],"env":{"COLOR":"red"},"files":{"/etc/app.conf":"hello"},"publish":[{"port":"http","host_port":'"$host_port"'}]')"
exits 0 'a start is accepted'
id=$ns-web-0-$deploy
ok 'it becomes ready' within 10 fact_is "$id" state ready
address=$(fact "$id" address)
like "$(ip -4 addr show "$bridge")" "$subnet.1/24" 'the bridge has the first address'
like "$address" "^$subnet\." 'its fact has its address'
is "$(curl -s --max-time 5 "http://$address:8080/env/COLOR")" red 'its environment'
is "$(curl -s --max-time 5 "http://$address:8080/file/etc/app.conf")" hello 'its file'
is "$(curl -s --max-time 5 "http://127.0.0.1:$host_port/env/COLOR")" red 'its published port'
before=$(engine_containers "ployz.machine=$bus_machine")
ask start "$(order web 0)"
like "$out" '"state":"ready"' 'asked again, it tells how it is'
is "$(engine_containers "ployz.machine=$bus_machine")" "$before" 'and makes no second container'
ask list '{"images":["'$image'","plt-none:1"]}'
like "$out" "\"id\":\"$id\"" 'the list shows it'
like "$out" '"port":'"$host_port"'.*"owner":"shop/web"' 'and its host port, with its owner'

# Output.
start "$work/lines" "$bus" "$bus_url" listen ployz.v1.progress.stream1 100 20
listen_pid=$started
within 5 test -e "$work/lines"
sleep 0.3
ask logs '{"stream":"stream1","namespace":"shop","follow":true}'
like "$out" '"instances":1' 'its output is followed'
curl -s --max-time 5 "http://$address:8080/said" >"$work/out"
ok 'and comes as lines' within 5 grep -q '"kind":"line".*"stream":"std' "$work/lines"
ask logs '{"stream":"stream1","namespace":"shop","stop":true}'
end_pid "$listen_pid"

# What fails, and why.
ask start "$(order bad 0 '"command":["/bin/testsvc","--port","8080","--exit","7","--die-after","100"],"ready":{"exec":["/bin/false"]}')"
ok 'one that exits has failed' within 10 fact_is "$ns-bad-0-$deploy" state failed
like "$(fact_lines)" 'exit code 7 before it was ready' 'with its exit code as the reason'
start "$work/entries" "$bus" "$bus_url" listen "$facts.$ns" 100 20
entries_pid=$started
within 5 test -e "$work/entries"
ask start "$(order slow 0 '"command":["/bin/testsvc","--port","8080"],"ports":{"http":{"port":9}},"ready":{"tcp":{"port":"http"},"interval":"100ms","retries":3}')"
ok 'one that never answers has failed' within 10 fact_is "$ns-slow-0-$deploy" state failed
like "$(fact_lines)" 'not ready after 3 probes: port 9: Connection refused' 'with the probe that did as the reason'
ok 'before that it was told as starting' grep -q "\"id\":\"$ns-slow-0-$deploy\"[^{}]*\"state\":\"starting\"" "$work/entries"
end_pid "$entries_pid"
ask start "$(printf '%s' "$(order none 0)" | sed "s/$image/plt-none:1/")"
ok 'one whose image is not here has failed' within 10 fact_is "$ns-none-0-$deploy" state failed
like "$(fact_lines)" 'cannot create it: .*o such image' "in the engine's words"

# Probes by http and exec; a service that gets sick and well again.
ask start "$(order web 1 '"ports":{"http":{"port":8080}},"command":["/bin/testsvc","--port","8080"],"ready":{"http":{"port":"http","path":"/health"},"interval":"200ms"}')"
ask start "$(order ex 0 '"command":["/bin/testsvc","--port","8080"],"ready":{"exec":["/bin/sh","-c","test -f /etc/version"]}')"
two=$ns-web-1-$deploy
ok 'ready by http' within 10 fact_is "$two" state ready
ok 'ready by exec' within 10 fact_is "$ns-ex-0-$deploy" state ready
curl -s --max-time 5 "http://$(fact "$two" address):8080/sick" >"$work/out"
ok 'sick: unready' within 10 fact_is "$two" state unready
curl -s --max-time 5 "http://$(fact "$two" address):8080/well" >"$work/out"
ok 'well: ready again' within 10 fact_is "$two" state ready

# The engine starts one again: another address, perhaps, and a restart more.
restarted() {
	fact_is "$two" state ready && [ "$(fact "$two" restarts)" = 1 ]
}
curl -s --max-time 5 "http://$(fact "$two" address):8080/exit/3" >"$work/out"
ok 'it ends by itself and the engine starts it again' within 15 restarted
# A kill by the engine's own interface counts as a stop: the engine leaves it, and Podman 5 does so
# ever after: it comes last. Podman 4 cannot be told to restart: there agentd does it at once.
fell() {
	fact_is "$two" state unready || fact_is "$two" restarts 2
}
engine_api POST "/containers/$two/kill?signal=KILL" >"$work/out"
ok 'killed from outside: unready' within 10 fell
engine_api POST "/containers/$two/start" >"$work/out"
ok 'started again: ready again' within 10 fact_is "$two" state ready

# Stop, resume, drain, remove.
ask stop "$(ref "$two")"
ok 'stopped' within 15 fact_is "$two" state stopped
ask resume "$(ref "$two")"
ok 'resumed' within 15 fact_is "$two" state ready
ask drain "$(ref "$two")"
like "$out" '"state":"draining"' 'draining'
curl -s --max-time 5 "http://$(fact "$two" address):8080/" >"$work/out"
is "$?" 0 'while draining it serves'
ask remove "$(ref "$two")"
ok 'removed' within 15 fact_is "$two" state gone
is "$(engine_containers "ployz.instance=$two" "ployz.machine=$bus_machine")" '' 'and no container of it is left'
ask remove "$(ref "$ns-web-7-$deploy")"
is "$out" '{"ok":{"sequence":0}}' 'what does not exist is reported so'

# A restart adopts: nothing is started again, and nothing is written that did not change.
started_at() {
	engine_api GET "/containers/$id/json" | sed -n 's/.*"StartedAt":"\([^"]*\)".*/\1/p'
}
sequence() {
	"$bus" "$bus_url" request '$JS.ployz.API.STREAM.INFO.PLOYZ_FACTS' '' | sed -n 's/.*"last_seq": *\([0-9]*\).*/\1/p'
}
at=$(started_at)
last=$(sequence)
kill -9 "$agentd_pid"
within 5 gone "$agentd_pid"
is "$(curl -s --max-time 5 "http://$address:8080/env/COLOR")" red 'without agentd its containers go on'
agentd_start
adopted() {
	ask list '{}' && printf '%s' "$out" | grep -q "\"id\":\"$id\".*\"state\":\"ready\""
}
ok 'a new agentd adopts them' within 10 adopted
sleep 1
is "$(started_at)" "$at" 'without starting them again'
is "$(sequence)" "$last" 'and without writing what did not change'
commit "web=$id"
open_deploy d2 2 d1 "web=$id"
d2_opened=$opened
ask lock "$(lock)"
exits 0 'the next deploy locks'
epoch=1 deploy=d1
ask start "$(order web 8)"
like "$out" 'FENCED.*deploy d2 with epoch 2' 'an earlier epoch is refused'
open_deploy d3 3 d1 "web=$id"
d3_opened=$opened
ask list "{$(fields)}"
like "$out" '"epoch":3' 'a list fences'
epoch=2 deploy=d2 opened=$d2_opened
ask remove "$(ref "$id")"
like "$out" 'FENCED.*deploy d3 with epoch 3' 'so is one that another deploy has superseded'
kill -9 "$agentd_pid"
within 5 gone "$agentd_pid"
agentd_start
within 10 agentd_answers
ask remove "$(ref "$id")"
like "$out" 'FENCED' 'also after a restart'
epoch=3 deploy=d3 opened=$d3_opened
ask lock "$(lock)"
exits 0 'its own holder locks'
renewed

# What ended leaves the list with the next deploy.
unlike "$(fact_lines)" '"state":"gone"' 'what had ended left the list with the next deploy'

# pre_deploy.
pre() {
	printf '{%s,"service":{"name":"%s","image":"%s","pre_deploy":{"command":%s,"timeout":"%s"}}}' \
		"$(fields)" "$1" "$image" "$2" "$3"
}
ran() {
	ask run "$1"
	printf '%s' "$out" | grep -q "\"state\":\"$2\""
}
good=$(pre good '["/bin/sh","-c","echo migrating; cat /etc/version"]' 5s)
start "$work/run.lines" "$bus" "$bus_url" listen ployz.v1.progress.d3 2 20
sleep 0.3
ok 'a pre_deploy command runs' within 10 ran "$good" 'done'
ok 'its output comes as progress' within 5 grep -q '"message":"migrating"' "$work/run.lines"
ok 'one that fails' within 10 ran "$(pre poor '["/bin/sh","-c","echo no such table; exit 4"]' 5s)" failed
ran "$(pre poor '["/bin/sh","-c","echo no such table; exit 4"]' 5s)" failed
like "$out" 'exit code 4; its last line: no such table' 'says with what, and its last line'
ok 'one that does not end' within 15 ran "$(pre long '["/bin/sleep","60"]' 1s)" failed
# Their removal is on its way when their end is told.
none_left() {
	! engine_api GET "/containers/json?all=1" | grep -q '"/shop-[a-z]*--1-'
}
ok 'nothing of them is left' within 10 none_left

# A worker without a port: ready when it has run for its time; one that ends before runs once.
worker() {
	printf '"command":["/bin/sh","-c","%s"],"ready":{"running":"%s"}%s' "$1" "${3:-1s}" "${2:+,$2}"
}
ask start "$(order worker 0 "$(worker 'sleep 600' '"stop_grace":"1s"' 4s)")"
ask start "$(order early 0 "$(worker 'echo once >>/data/runs; sleep 0.3; exit 3' '"mounts":[{"volume":"runs","target":"/data"}]')" \
	'"volumes":{"runs":{}},"new_volumes":["runs"]')"
ok 'a worker is not ready at once' within 4 fact_is "$ns-worker-0-$deploy" state starting
ok 'it is when it has run for its time' within 10 fact_is "$ns-worker-0-$deploy" state ready
ok 'one that ends before has failed' within 10 fact_is "$ns-early-0-$deploy" state failed
ask start "$(order count 0 "$(worker 'cat /data/runs; sleep 600' '"mounts":[{"volume":"runs","target":"/data"}],"stop_grace":"1s"')" \
	'"volumes":{"runs":{}}')"
ok 'a volume that exists is mounted' within 10 fact_is "$ns-count-0-$deploy" state ready
is "$(engine_api GET "/containers/$ns-count-0-$deploy/logs?stdout=1" | tr -cd 'a-z')" once 'it has run once, not twice'
ask start "$(order lost 0 "$(worker 'sleep 600' '"mounts":[{"volume":"lost","target":"/data"}]')" '"volumes":{"lost":{}}')"
ok 'one whose volume does not exist has failed' within 10 fact_is "$ns-lost-0-$deploy" state failed
like "$(fact_lines)" 'volume lost .*ployz.shop.lost.*restore it' 'with the volume and what to do'
at_end 'engine_api DELETE /volumes/ployz.shop.runs >/dev/null 2>&1'
policy() {
	engine_api GET "/containers/$1/json" | grep -q "\"RestartPolicy\":{\"Name\":\"$2\""
}
restarted_worker() {
	fact_is "$ns-worker-0-$deploy" restarts 1 && fact_is "$ns-worker-0-$deploy" state ready
}
kill_process() {
	engine_api GET "/containers/$1/json" | sed -n 's/.*"Pid":\([0-9]*\).*/\1/p'
}
kill -9 "$(kill_process "$ns-worker-0-$deploy")"
ok 'one that dies after it was ready is started again' within 15 restarted_worker

# A copy of its image, run by hand, is not ours.
copy=$(engine_api POST "/commit?container=$ns-worker-0-$deploy&repo=plt-copy&tag=$tag" -H 'Content-Type: application/json' -d '{}' |
	sed -n 's/.*"Id": *"\(sha256:\)*\([0-9a-f]*\)".*/\2/p')
at_end "engine_image_rm $copy"
byhand=plt-byhand-$tag
engine_api POST "/containers/create?name=$byhand" -H 'Content-Type: application/json' \
	-d '{"Image":"'"$copy"'","HostConfig":{"NetworkMode":"none"'"$(engine_ulimits)"'}}' >"$work/out"
at_end "engine_api DELETE '/containers/$byhand?force=1' >/dev/null 2>&1"
engine_api POST "/containers/$byhand/start" >"$work/out"
like "$(engine_api GET "/containers/$byhand/json")" "\"ployz.instance\":\"$ns-worker-0-$deploy\"" 'a copy of its image carries its labels'
ask list "{\"namespace\":\"$ns\"}"
is "$(printf '%s' "$out" | grep -o "\"id\":\"$ns-worker-0-$deploy\"" | grep -c .)" 1 'run by hand it is not listed'
engine_api POST "/containers/$byhand/kill?signal=KILL" >"$work/out"
sleep 1
fact_is "$ns-worker-0-$deploy" state ready
is $? 0 'its end is not that of ours'

# Presumed abort: a holder dies during a stop-first update, and another one follows.
old=$ns-port-0-$deploy
port_order() {
	order port 0 '"ports":{"http":{"port":8080}},"command":["/bin/testsvc","--port","8080"],"publish":[{"port":"http","host_port":'"$second_port"'}],"stop_grace":"1s"'
}
ask start "$(port_order)"
ok 'an instance with a host port' within 10 fact_is "$old" state ready
commit "port=$old"
close_deploy "$deploy" "port=$old"
open_deploy d4 4 d3 "port=$old"
ask lock "$(lock)"
renewed
ask drain "$(ref "$old")"
ask stop "$(ref "$old")"
ok 'is stopped for its successor' within 10 fact_is "$old" state stopped
ask start "$(port_order)"
new=$ns-port-0-$deploy
ok 'which gets ready' within 10 fact_is "$new" state ready
ask probe "{$(fields),\"instances\":[\"$new\"]}"
like "$out" '"state":"ready".*"sequence":[1-9]' 'and says so when it is asked before the commit'
end_pid "$renew_pid"
kill -9 "$agentd_pid"
within 5 gone "$agentd_pid"
open_deploy d5 5 d3 "port=$old"
agentd_start
within 10 agentd_answers
ask list "{$(fields)}"
like "$out" '"epoch":5' 'the next holder fences'
ok 'the committed instance runs again' within 20 fact_is "$old" state ready
ok 'the candidate goes' within 20 fact_is "$new" state gone
is "$(curl -s --max-time 5 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$second_port/")" 200 'and its port answers'
ask lock "$(lock)"
renewed
ask remove "$(ref "$old")"
like "$out" 'REFUSED.*is committed' 'what the head names is not removed'

# A pre_deploy command is known by its address while it runs.
ask run "$(pre slow '["/bin/sh","-c","sleep 2"]' 10s)"
address_of_run() {
	printf '%s' "$(fact "$ns-slow--1-$deploy" address)" | grep -q "^$subnet\."
}
ok 'a pre_deploy command is in the facts while it runs' within 5 address_of_run
run_gone() {
	! fact_lines | grep -q -- '--1-'
}
ok 'and not afterwards' within 10 run_gone

# The engine goes away and comes back, its containers do not: no fact turns into a failure.
relay_start() {
	start "$work/relay.log" perl tests/lib/relay.pl "$work/engine.sock" "${DOCKER_HOST#unix://}"
	relay_pid=$started
	within 5 engine_answers "unix://$work/engine.sock"
}
status_says() {
	"$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.status" '{}' | grep -q "$1"
}
end_pid "$agentd_pid"
relay_start
agentd_start --engine "unix://$work/engine.sock"
within 10 agentd_answers
last=$(sequence)
kill -9 "$relay_pid"
ok 'an engine that is away is told in the status' within 5 status_says '"reachable":false'
ask list '{}'
like "$out" '"engine":false.*"engine_error":' 'and in the list'
ask start "$(order web 5)"
like "$out" 'ENGINE' 'and nothing is started meanwhile'
ask remove "$(ref "$id")"
like "$out" 'ENGINE' 'nor removed'
is "$(sequence)" "$last" 'but no fact has changed'
engine_api POST "/containers/$id/kill?signal=KILL" >"$work/out"
relay_start
again() {
	fact_is "$id" state unready && status_says '"reachable":true' && [ "$(sequence)" -gt "$last" ]
}
ok 'it is back: what it did meanwhile is seen' within 15 again
engine_api POST "/containers/$id/start" >"$work/out"
ok 'and what it does from then on' within 15 fact_is "$id" state ready
is "$(grep -c 'cannot reach the container engine' "$work/agentd.log")" 1 'that it was away was logged once'
# An engine that takes a request and never answers it is one that does not answer.
kill -STOP "$relay_pid"
ask list '{}'
like "$out" '"instances"|"engine":false' 'a hanging engine does not hang agentd'
kill -CONT "$relay_pid"
within 15 status_says '"reachable":true'

# Told to end while the engine makes something: it waits to hear of it, for nobody else would know of it.
waits_for_the_engine() {
	[ "$(grep -c 'stopping once the container engine has answered' "$work/agentd.log")" -eq "$1" ]
}
kill -STOP "$relay_pid"
ask start "$(order late 0)"
exits 0 'an instance is to be made by an engine that takes its time'
kill "$agentd_pid"
ok 'agentd, told to end, waits for that' within 5 waits_for_the_engine 1
ask start "$(order late 1)"
like "$out" 'UNREACHABLE.*is stopping' 'and begins nothing any more'
kill -CONT "$relay_pid"
ok 'then it ends' within 10 gone "$agentd_pid"
made=$(engine_api GET "/containers/$ns-late-0-$deploy/json" | grep -o '^{"Id":"[^"]*"\|"Status":"[^"]*"')
like "$made" '"created"' 'the engine has made it, and it was not started'
: >"$work/agentd.log"
agentd_start --engine "unix://$work/engine.sock"
within 15 status_says '"reachable":true'
ask start "$(order late 0)"
ok 'ordered of the next one, it starts that one' within 10 fact_is "$ns-late-0-$deploy" state ready
like "$(engine_api GET "/containers/$ns-late-0-$deploy/json")" "$(printf '%s\n' "$made" | head -n 1)" 'not another'
kill -STOP "$relay_pid"
ask start "$(order late 2)"
kill "$agentd_pid"
within 5 waits_for_the_engine 1
kill "$agentd_pid"
ok 'told twice it ends at once' within 5 gone "$agentd_pid"
kill -CONT "$relay_pid"
agentd_start --engine "unix://$work/engine.sock"
within 15 status_says '"reachable":true'

# The store is away: facts wait, which is logged once.
commit
ask drain "$(ref "$id")"
kill -9 "$store_pid"
within 5 gone "$store_pid"
ask remove "$(ref "$id")"
sleep 2
store_start
ok 'facts are written when the store is back' within 30 fact_is "$id" state gone
is "$(grep -c 'cannot append the facts' "$work/agentd.log")" 1 'that it was away was logged once'
ask unlock "{$(fields)}"
is "$out" '{"ok":{}}' 'the lock is given back'
[ -z "${SHOW-}" ] || sed 's/^/# /' "$work/agentd.log"
done_testing
