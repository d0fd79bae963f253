#!/bin/sh
# agentd on a real bus and a real store, with an engine that has no containers: who commands, presumed abort, facts.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"

bus=$BUILD/tool/bus
ns=shop

ask() { # ask VERB JSON: the answer in $out
	run "$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.$1" "$2"
}

fields() {
	printf '"namespace":"%s","epoch":%d,"deploy":"%s","generation":1,"opened":%d' "$ns" "$epoch" "$deploy" "$opened"
}

slots() { # slots [INSTANCE]: the services of a head that names it
	[ -z "${1-}" ] || printf '{"name":"web","slots":[{"slot":0,"instance":"%s","machine":"%s","deploy":"%s"}]}' \
		"$1" "$bus_machine" "${1##*-}"
}

# head_append COMMITTED INSTANCE MORE: prints its sequence.
head_append() {
	"$bus" "$bus_url" append "ployz.v1.intent.namespace.$ns" \
		"$(printf '{"namespace":"%s","writer":"%s","epoch":%d,"generation":1,"deploy":"%s","services":[%s]%s}' \
			"$ns" "$deploy" "$epoch" "$1" "$(slots "$2")" "${3-}")" any
}

open_deploy() { # open_deploy DEPLOY EPOCH [COMMITTED INSTANCE]
	deploy=$1 epoch=$2
	opened=$(head_append "${3-}" "${4-}" \
		"$(printf ',"open":{"deploy":"%s","epoch":%d,"generation":1}' "$deploy" "$epoch")")
}

lock() {
	ask lock "{$(fields),\"holder\":\"$bus_machine\"}"
}

start_web() {
	ask start "{$(fields),\"instance\":\"shop-web-0-$deploy\",\"service\":{\"name\":\"web\",\"image\":\"x\",\"ready\":{\"running\":\"500ms\"}}}"
}

ref() {
	printf '{%s,"instance":"%s"}' "$(fields)" "$1"
}

fact_is() { # fact_is INSTANCE STATE
	"$bus" "$bus_url" last PLOYZ_FACTS "ployz.v1.facts.$bus_machine.$ns" |
		grep -q "\"id\":\"$1\"[^{}]*\"state\":\"$2\""
}

agentd_start() {
	start "$work/agentd.log" agentd --bus "$bus_url" --machine "$bus_machine" --state "$work/agentd" --run "$work" \
		--config "$work/none" --credentials "$work/none" --engine "unix://$work/engine.sock" --network plt-none \
		--bridge plt-none
	agentd_pid=$started
	within 10 "$bus" "$bus_url" request "ployz.v1.$bus_machine.agentd.status" '{}'
}

last_fact() {
	"$bus" "$bus_url" request '$JS.ployz.API.STREAM.INFO.PLOYZ_FACTS' '' | sed -n 's/.*"last_seq": *\([0-9]*\).*/\1/p'
}

bus_start || bail 'the two servers did not start'
streams_make || bail 'the streams were not made'
"$bus" "$bus_url" append "ployz.v1.intent.member.$bus_machine" \
	"{\"id\":\"$bus_machine\",\"name\":\"$bus_machine\",\"subnet\":\"10.101.201.0/24\",\"life_cycle\":\"active\"}" 0 >"$work/out"
start "$work/engine.log" engine "$work/engine.sock"
agentd_start

open_deploy d1 1
old=shop-web-0-d1
lock
exits 0 'the deploy that is open locks'
start_web
like "$out" '"state":"pulling"' 'and starts an instance'
ok 'which gets ready' within 10 fact_is "$old" ready
ask probe "{$(fields),\"instances\":[\"$old\"]}"
like "$out" '"state":"ready".*"sequence":[1-9]' 'the last query names the entry that says so'
head_append d1 "$old" >"$work/out"
ask unlock "{$(fields)}"
is "$out" '{"ok":{}}' 'it commits and unlocks'

# The next deploy stops it first, and its holder dies.
open_deploy d2 2 d1 "$old"
lock
ask drain "$(ref "$old")"
like "$out" '"state":"draining"' 'the next one drains it'
ask stop "$(ref "$old")"
ok 'and stops it' within 10 fact_is "$old" stopped
start_web
new=shop-web-0-d2
ok 'its candidate gets ready' within 10 fact_is "$new" ready
kill -9 "$agentd_pid"
within 5 gone "$agentd_pid"
agentd_start
open_deploy d3 3 d1 "$old"
ask list "{$(fields)}"
like "$out" '"epoch":3' 'a third one fences'
ok 'the committed instance is ready again' within 15 fact_is "$old" ready
ok 'the candidate is gone' within 15 fact_is "$new" gone
deploy=d2 epoch=2
lock
like "$out" 'FENCED.*deploy d3' 'the second one is refused from then on'
deploy=d3 epoch=3

# The store is away.
kill -STOP "$store_pid"
deploy=d4 epoch=4 opened=1000
ask list "{$(fields)}"
like "$out" '"code":"(NO_QUORUM|TIMEOUT|UNREACHABLE)".*head of namespace shop' 'a store that does not answer is named'
kill -CONT "$store_pid"
ask list "{$(fields)}"
like "$out" 'FENCED.*before the deploy.s opening entry 1000' 'an opening entry that does not exist is none'
ask list '{"namespace":"shop"}'
like "$out" '"epoch":3' 'and its epoch is not remembered'

# Another machine with this id.
"$bus" "$bus_url" append "ployz.v1.facts.$bus_machine.$ns" \
	"{\"machine\":\"$bus_machine\",\"namespace\":\"$ns\",\"instances\":[],\"nonce\":\"somebody-else\"}" any >"$work/out"
last=$(last_fact)
open_deploy d5 5 d1 "$old"
lock
ask drain "$(ref "$old")"
says_cloned() {
	grep -q 'another machine with this id wrote the facts of namespace shop' "$work/agentd.log"
}
ok 'another machine that writes its facts is reported' within 10 says_cloned
start_web
like "$out" 'REFUSED.*another machine with this id' 'nothing is started'
is "$(last_fact)" "$last" 'and nothing overwritten'
[ -z "${SHOW-}" ] || sed 's/^/# /' "$work/agentd.log"
done_testing
