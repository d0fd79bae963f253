#!/bin/sh
# leased against real nats-servers and a real placerd: lease, epoch, fence, sweep, takeover. The engine's side is
# tests/tool/neighbours.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"
. "$(dirname "$0")/lib/leased.sh"

leased_world
machine_start m1
leased_start m1

# The plain way.
like "$(deploy m1 first ok:1)" '"ok":{"deploy":"first"' 'a deploy is accepted at once'
ok 'and walks to its end' within 10 ended m1 first done
like "$(head_of)" '"revision":1,' 'its revision is the head'
unlike "$(head_of)" '"open"' 'nothing is open'
like "$(ask m1 lease.show '{"namespace":"shop"}')" '"state":"free","epoch":1' 'the lease is free, epoch 1'
like "$(deploy m1 first ok:1)" '"phase":"done"' 'asked again, it is the same deploy'
deploy m1 noop ok:1 >"$work/out"
ok 'a deploy with nothing to change' within 10 ended m1 noop done
like "$(head_of)" '"revision":1,.*"outcome":"nothing to change"' 'commits nothing'

# What fails before the commit changes nothing.
deploy m1 absent absent:1 >"$work/out"
ok 'an image that cannot be had' within 10 ended m1 absent failed
like "$(record m1 absent)" 'image absent:1 of service web cannot be had on machine m1: no such image' 'is named, with the reason'
deploy m1 broken fail:1 >"$work/out"
ok 'a candidate that fails' within 10 ended m1 broken failed
like "$(record m1 broken)" 'did not get ready: it exited with code 1' 'fails the deploy, with its reason'
like "$(head_of)" '"revision":1,' 'the old revision stays'
unlike "$("$bus" "$bus_url" request ployz.v1.m1.agentd.list '{}')" 'web-[0-9]*-broken' 'and no candidate is left'

# Bad requests.
like "$(ask m1 deploy '{"deploy":"x","manifest":{"namespace":"shop","services":{"web":{}}}}')" 'services.web.image is missing' 'a manifest that breaks a rule is refused naming the field'
like "$(ask m1 attach '{"deploy":"nosuch"}')" 'NOT_FOUND.*no deploy nosuch' 'a deploy that nobody knows'
like "$(ask m1 frobnicate '{}')" 'leased knows no verb' 'a verb that nobody knows'
ask m1 deploy '{"deploy":"stale","plan_seq":1,"manifest":{"namespace":"shop","services":{}}}' >"$work/out"
ok 'a plan made from another state' within 10 ended m1 stale refused
like "$(record m1 stale)" 'STALE.*has changed since the plan' 'is refused as stale'

# One holder at a time.
deploy m1 slow slow:1 >"$work/out"
within 5 grep -q 'deploy slow of namespace shop: starting' "$work/leased-m1.log"
deploy m1 second ok:2 >"$work/out"
ok 'a second deploy while one runs is refused' within 5 ended m1 second refused
like "$(record m1 second)" 'LEASE_HELD.*held by slow@desk for deploy slow on machine m1 since' 'naming the holder'
like "$(ask m1 lease.list '{}')" '"state":"held"' 'the lease shows as held'

# Killed in the middle: its next life takes over at once, and nothing of the dead deploy is left.
kill -9 "$leased_m1"
within 5 gone "$leased_m1"
leased_start m1
deploy m1 after ok:3 >"$work/out"
ok 'after kill -9 the next deploy succeeds at once' within 10 ended m1 after done
like "$(record m1 slow)" '"phase":"failed"' 'the dead one is recorded as failed'
unlike "$("$bus" "$bus_url" request ployz.v1.m1.agentd.list '{}')" '"deploy":"slow"' 'nothing of it is left'
like "$(head_of)" '"revision":2,' 'one head'

# Frozen while another takes over: it cannot commit when it wakes.
machine_start m2
leased_start m2
deploy m1 frozen slow:2 >"$work/out"
within 5 grep -q 'deploy frozen of namespace shop: starting' "$work/leased-m1.log"
kill -STOP "$leased_m1"
deploy m2 other ok:4 >"$work/out"
ok 'another machine is refused while it is held' within 5 ended m2 other refused
like "$(ask m2 lease.break '{"namespace":"shop","operator":"boss@desk"}')" '"state":"free"' 'lease break frees it'
deploy m2 forced ok:4 >"$work/out"
ok 'and another deploy goes through' within 10 ended m2 forced done
kill -CONT "$leased_m1"
ok 'the frozen one wakes and has lost' within 10 ended m1 frozen failed
like "$(record m1 frozen)" 'LEASE_LOST|FENCED' 'and says why'
like "$(head_of)" '"revision":3,.*"deploy":"forced"' 'exactly one head: the other one'

# A head of a later epoch than the lease: somebody else has opened the namespace since the lease was taken.
deploy m1 early ok:1 later >"$work/out"
ok 'a namespace of its own' within 10 ended m1 early done
later=$(head_of later | sed 's/"epoch":[0-9]*/"epoch":99/')
"$bus" "$bus_url" append ployz.v1.intent.namespace.later "$later" any >"$work/out"
deploy m1 outdated ok:2 later >"$work/out"
ok 'a lease of an earlier epoch than the head' within 10 ended m1 outdated failed
like "$(record m1 outdated)" 'FENCED.*opened namespace later meanwhile: epoch 2 is over, the log has 99' 'is over'
is "$(head_of later)" "$later" 'and nothing was written'

# A holder that dies for good: its lease lapses, counted by who waits.
deploy m1 dead slow:3 >"$work/out"
within 5 grep -q 'deploy dead of namespace shop: starting' "$work/leased-m1.log"
kill -9 "$leased_m1"
deploy m2 early ok:5 >"$work/out"
ok 'a dead holder keeps it for the term' within 5 ended m2 early refused
like "$(record m2 early)" 'it is free in at most [12][0-9] s' 'and the refusal says for how long at most'

expired() {
	ask m2 lease.show '{"namespace":"shop"}' | grep -q '"free_in_ms":0'
}
ok 'the term is over after 30 s' within 40 expired
deploy m2 heir ok:5 >"$work/out"
ok 'and the next holder takes over' within 10 ended m2 heir done
unlike "$("$bus" "$bus_url" request ployz.v1.m1.agentd.list '{}')" '"deploy":"dead"' 'and removes what was left'

# The store dies in the middle: the walk rides it out.
kill -9 "$store_pid"
within 5 gone "$store_pid"
deploy m2 rides ok:6 >"$work/out"
store_start
ok 'a store that is back within the term' within 25 ended m2 rides done
like "$(head_of)" '"deploy":"rides"' 'has the commit'

done_testing
