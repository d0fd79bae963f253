#!/bin/sh
# meshd on a machine whose id another one has, and whose local mirrors have stopped.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/meshd.sh

prepare --init production
machine=$(cat "$credentials/machine")
request=$(sed -n 's/.*"store":"\([a-z0-9]*\)".*/\1/p' "$state/init.json")
store_start
local_start
meshd_start
ok 'a cluster' within 10 says ': ready'
as leased append ployz.v1.intent.namespace.shop '{"namespace":"shop","release":1}' 0 >/dev/null
as leased append ployz.v1.manifest.shop '{"namespace":"shop"}' 0 >/dev/null
as leased append '$JS.ployz.API.$KV.PLOYZ_LEASES.shop' '{"namespace":"shop"}' 0 >/dev/null
as leased append ployz.v1.status.deploy.shop.d1 '{"deploy":"d1"}' 0 >/dev/null
ok 'the mirrors have all' within 10 mirrored

# A cloned machine writes with the same id.
facts="{\"machine\":\"$machine\",\"version\":\"9\",\"since\":\"yesterday\",\"nonce\":\"stranger\"}"
run as meshd append "ployz.v1.facts.$machine" "$facts" any
ok 'a cloned machine id is reported' within 20 \
	says "cannot write this machine's records: another machine with the id $machine has written entry $out of its facts at yesterday; give the other"
status
like "$(json '$j->{ok}{error}')" 'another machine with the id' 'in the status too'
like "$(json '$j->{ok}{hint}')" 'id of its own' 'with the next step'
written=$(all_last)
meshd_restart --name cloned
ok 'the next start finds it too' within 10 says 'another machine with the id'
ok 'ready all the same' within 5 says ': ready'
is "$(all_last)" "$written" 'and writes nothing'
end_pid "$meshd_pid"
rm "$state/facts.json"
meshd_start
ok 'taken for its own: written again' within 10 says "this machine's facts are entry .*version 9 → "
ok 'and done' within 10 status_says '$j->{ok}{bootstrap}' '^done$'
# Two clones that write in turn: the nonce of a write that was not confirmed is its own too.
end_pid "$meshd_pid"
printf '{"written":"old","pending":["other","stranger"]}\n' >"$state/facts.json"
run as meshd append "ployz.v1.facts.$machine" "$facts" any
meshd_start
ok 'a write whose answer was lost is recognised' within 10 says "this machine's facts are entry"
unlike "$(cat "$work/meshd.log")" 'another machine' 'as this machine'\''s'

# While the link is cut, the stream drops entries that the mirror has not seen: nats-server 2.10 stops at the next one.
fact=$(as agentd append "ployz.v1.facts.$machine.stall" '{"n":1}' 0)
ok 'the mirrors have it' within 20 mirrored
end_pid "$nats_pid"
store_port=$(sed -n 's/.*client connections on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$work/store.log")
leaf_user=$machine:$(sed -n 's/^password = //p' "$credentials/leaf.conf")
for n in 2 3 4; do
	fact=$(bus "nats://127.0.0.1:$store_port" "$leaf_user" append "ployz.v1.facts.$machine.stall" "{\"n\":$n}" "$fact")
done
isnt "$fact" '' 'written beside the local bus'
local_start
ok 'a mirror that has stopped is replaced' within 90 mirrored
run as operator request "\$JS.$machine.API.STREAM.MSG.GET.PLOYZ_FACTS" "{\"last_by_subj\":\"ployz.v1.facts.$machine.stall\"}"
is "$(json '$j->{message}{seq}')" "$fact" 'and has the newest entry under its sequence'
ok 'no snapshot is left' test ! -e "$state/snapshot"
end_pid "$meshd_pid"
done_testing
