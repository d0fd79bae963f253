#!/bin/sh
# leased against real nats-servers and a real placerd: lease, epoch, fence, sweep, takeover, rollback, outcomes. The
# other daemons are tests/tool/neighbours.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"
. "$(dirname "$0")/lib/bus.sh"
. "$(dirname "$0")/lib/leased.sh"

leased_world
machine_start m1
leased_start m1

# The plain way.
like "$(deploy m1 first ok:1)" '"ok":{"deploy":"first"' 'a deploy is accepted at once'
ok 'and ends as done' within 10 ended m1 first done
like "$(head_of)" '"revision":1,' 'its revision is the head'
unlike "$(head_of)" '"open"' 'nothing is open'
like "$(ask m1 lease.show '{"namespace":"shop"}')" '"state":"free","epoch":1' 'the lease is free, epoch 1'
like "$(deploy m1 first ok:1)" '"phase":"done"' 'a repeated request is about the same deploy'
first=$(head_of)
deploy m1 noop ok:1 >"$work/out"
ok 'a deploy with nothing to change' within 10 ended m1 noop done
is "$(head_of)" "$first" 'appends nothing'

# What fails before the commit changes nothing.
deploy m1 absent absent:1 >"$work/out"
ok 'an image that cannot be fetched' within 10 ended m1 absent failed
like "$(record m1 absent)" 'cannot fetch image absent:1 of service web on machine m1: no such image' 'is named, with the reason'
deploy m1 broken fail:1 >"$work/out"
ok 'a candidate that fails' within 10 ended m1 broken failed
like "$(record m1 broken)" 'cannot start service web, slot [01] on machine m1: it exited with code 1' 'fails the deploy, with its reason'
like "$(head_of)" '"revision":1,' 'the old revision stays'
unlike "$("$bus" "$bus_url" request ployz.v1.m1.agentd.list '{}')" 'web-[0-9]*-broken' 'and no candidate is left'

# Bad requests.
like "$(ask m1 deploy '{"deploy":"x","manifest":{"namespace":"shop","services":{"web":{}}}}')" 'services.web.image is missing' 'a manifest that breaks a rule is refused naming the field'
like "$(ask m1 attach '{"deploy":"nosuch"}')" 'NOT_FOUND.*cannot attach to deploy nosuch' 'an unknown deploy'
like "$(ask m1 frobnicate '{}')" 'leased has no verb' 'an unknown verb'
ask m1 deploy '{"deploy":"stale","plan_seq":1,"manifest":{"namespace":"shop","services":{}}}' >"$work/out"
ok 'a plan made from another state' within 10 ended m1 stale refused
like "$(record m1 stale)" 'STALE.*namespace shop has changed since' 'is refused as stale'

# One holder at a time.
deploy m1 slow slow:1 >"$work/out"
within 5 grep -q 'deploy slow of namespace shop: starting' "$work/leased-m1.log"
deploy m1 second ok:2 >"$work/out"
ok 'a second deploy while one runs is refused' within 5 ended m1 second refused
like "$(record m1 second)" 'LEASE_HELD.*slow@desk holds it for deploy slow on machine m1 since' 'naming the holder'
like "$(ask m1 lease.list '{}')" '"state":"held"' 'the lease shows as held'

# Killed in the middle: its next incarnation takes over at once, and nothing of the dead deploy is left.
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

# A lease bucket that has lost its epochs: the holder raises its epoch above the head's.
deploy m1 early ok:1 later >"$work/out"
ok 'a namespace of its own' within 10 ended m1 early done
"$bus" "$bus_url" append ployz.v1.intent.namespace.later "$(head_of later | sed 's/"epoch":[0-9]*/"epoch":99/')" any >"$work/out"
deploy m1 outdated ok:2 later >"$work/out"
ok 'a lease of an earlier epoch than the head' within 10 ended m1 outdated done
like "$(head_of later)" '"revision":2,.*"epoch":100' 'is raised above it'

# What ends after it was ready is not committed.
deploy m1 died dies:1 later >"$work/out"
ok 'a candidate that ends between ready and commit' within 10 ended m1 died failed
like "$(record m1 died)" 'cannot commit: service web, slot [01] on machine m[12] was ready and is failed now: it exited with code 3' 'is found by the last query'
like "$(head_of later)" '"revision":2,' 'and not committed'

# Rollback, cancel, sweep.
ask m1 rollback '{"deploy":"back","namespace":"later","operator":"boss@desk"}' >"$work/out"
ok 'a rollback' within 10 ended m1 back done
like "$(head_of later)" '"revision":3,"deploy":"back","verb":"rollback".*"digest":"sha256:ok:1"' 'runs the images of the revision before'
ask m1 rollback '{"deploy":"nowhere","namespace":"later","to":17}' >"$work/out"
ok 'to a revision that never was' within 10 ended m1 nowhere refused
like "$(record m1 nowhere)" 'cannot roll back namespace later to revision 17' 'is refused'
deploy m1 waiting slow:9 later >"$work/out"
within 5 grep -q 'deploy waiting of namespace later: starting' "$work/leased-m1.log"
like "$(ask m1 cancel '{"deploy":"waiting","operator":"boss@desk"}')" '"deploy":"waiting"' 'a deploy that waits is cancelled'
ok 'and ends as failed' within 10 ended m1 waiting failed
like "$(record m1 waiting)" 'was cancelled by boss@desk' 'naming who cancelled it'
like "$(ask m1 cancel '{"deploy":"back"}')" 'cannot cancel deploy back' 'one that has ended is not cancelled'
swept=$(head_of later)
ask m1 sweep '{"deploy":"broom","namespace":"later"}' >"$work/out"
ok 'a sweep with nothing to clean' within 10 ended m1 broom done
is "$(head_of later)" "$swept" 'appends nothing'

# A holder that dies for good: its lease lapses, counted by who waits.
deploy m1 dead slow:3 >"$work/out"
within 5 grep -q 'deploy dead of namespace shop: starting' "$work/leased-m1.log"
kill -9 "$leased_m1"
deploy m2 early ok:5 >"$work/out"
ok 'a dead holder keeps it for the term' within 5 ended m2 early refused
like "$(record m2 early)" 'the lease is free in at most [12][0-9] s' 'and the refusal says for how long at most'

expired() {
	ask m2 lease.show '{"namespace":"shop"}' | grep -q '"free_in_ms":0'
}
ok 'the term is over after 30 s' within 40 expired
deploy m2 heir ok:5 >"$work/out"
ok 'and the next holder takes over' within 10 ended m2 heir done
unlike "$("$bus" "$bus_url" request ployz.v1.m1.agentd.list '{}')" '"deploy":"dead"' 'and removes what was left'

# The store dies in the middle: the rollout repeats its requests until it is back.
kill -9 "$store_pid"
within 5 gone "$store_pid"
deploy m2 rides ok:6 >"$work/out"
store_start
ok 'a store that is back within the term' within 25 ended m2 rides done
like "$(head_of)" '"deploy":"rides"' 'has the commit'

# A deploy's id is recognised after a restart.
kill "$leased_m2"
within 5 gone "$leased_m2"
leased_start m2
like "$(deploy m2 rides ok:7)" '"phase":"done"' 'a repeated id after a restart is about the same deploy'
like "$(head_of)" '"deploy":"rides"' 'and nothing is deployed again'

# A holder that died after it opened: attach finds no entry that follows, and a sweep decides.
deploy m2 lost slow:4 >"$work/out"
within 5 grep -q 'deploy lost of namespace shop: starting' "$work/leased-m2.log"
kill -9 "$leased_m2"
within 5 gone "$leased_m2"
leased_start m2
like "$(record m2 lost)" '"phase":"unknown"' 'attach to a deploy whose holder died'
ok 'resolves it' within 15 ended m2 lost failed
unlike "$(head_of)" '"open"' 'nothing is open'

# A record that is older than its deploy's opening entry: the log is searched for the deploy.
log_head() { # log_head DEPLOY EXPECTED JSON: an entry of namespace late
	"$bus" "$bus_url" append ployz.v1.intent.namespace.late \
		"{\"namespace\":\"late\",\"writer\":\"$1\",\"epoch\":1,\"generation\":1,$3}" "$2" | sed 's/[^0-9]*\([0-9]*\).*/\1/'
}

log_open() { # log_open DEPLOY EXPECTED JSON
	log_head "$1" "$2" "$3,\"open\":{\"deploy\":\"$1\",\"epoch\":1,\"generation\":1,\"machine\":\"m1\",\"verb\":\"deploy\"}"
}

for id in early behind unheard; do
	"$bus" "$bus_url" append "ployz.v1.status.deploy.late.$id" \
		"{\"deploy\":\"$id\",\"namespace\":\"late\",\"verb\":\"deploy\",\"machine\":\"m1\",\"epoch\":1,\"phase\":\"planning\"}" any >"$work/out"
done
at=$(log_open early 0 '"revision":0')
at=$(log_head early "$at" '"revision":1,"deploy":"early"')
at=$(log_open behind "$at" '"revision":1,"deploy":"early","committed":'"$at")
at=$(log_head behind "$at" '"revision":2,"deploy":"behind"')
record m2 behind >"$work/out"
ok 'a commit that its record does not know' within 15 ended m2 behind cleanup_pending
like "$(record m2 behind)" '"revision":2,' 'is found in the log'
record m2 early >"$work/out"
ok 'also where its opening entry is the first one' within 15 ended m2 early cleanup_pending
record m2 unheard >"$work/out"
ok 'a deploy that the log does not name' within 20 ended m2 unheard failed
like "$(record m2 unheard)" 'has no entry of it' 'has failed'

done_testing
