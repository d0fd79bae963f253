#!/bin/sh
# meshd against a store that is not the one that it knows: gone, put back, empty, another's; and how an operator
# accepts it.
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

# The store goes, and comes back.
store_end
ok 'a store that is gone is reported' within 20 says 'cannot reach the store'
status
is "$(json '$j->{ok}{store}{state}')" unreachable 'and in the status'
is "$(json '$j->{ok}{bootstrap}')" done 'what was done stays'
isnt "$(last_of PLOYZ_INTENT "$machine")" '' 'the mirror answers meanwhile'
ask store.usage '{}'
like "$out" 'NO_QUORUM' 'usage says so'
ask store.accept '{}'
like "$out" 'NO_QUORUM' 'a store that does not answer cannot be accepted'
cp -a "$work/store" "$work/backup"
store_start
ok 'and so is its return' within 30 says 'the store answers again'
ask store.accept '{}'
like "$out" 'it has no error.*store accept --force' 'a good store is not accepted again'

# put_back DIRECTORY: the store has its data of then, and meshd runs meanwhile.
put_back() {
	store_end
	rm -rf "$work/store"
	cp -a "$1" "$work/store"
	store_start
}
errs() { # errs STATE REGEX: reported in log and status, with the next step; nothing is written.
	ok "the store is $1: reported" within 30 says "error: cannot use the store: .*$2.*writes nothing to it.*ployzctl store accept"
	status
	is "$(json '$j->{ok}{store}{state}')" "$1" 'the status has the state'
	like "$(json '$j->{ok}{store}{error}')" "$2" 'the error'
	like "$(json '$j->{ok}{store}{hint}')" 'ployzctl store accept' 'and the next step'
	written=$(all_last)
	ask store.compact '{"keep":10}'
	like "$out" "\"code\":\"REFUSED\",\"message\":\"cannot use the store: .*$2" 'it is not compacted'
	meshd_restart --name "name-$1"
	ok "$1: found again at the next start" within 10 says "error: cannot use the store: .*$2"
	ok 'ready all the same' within 5 says ': ready'
	is "$(all_last)" "$written" 'and nothing was written'
}
accepts() { # accepts GENERATION: the machine goes on with it, and its mirrors follow.
	ask store.accept '{"operator":"anna","why":"restored"}'
	is "$out" "{\"ok\":{\"generation\":$1}}" "accepted as generation $1"
	ok 'it is logged, with the operator and why' says "accepting the store as generation $1, for anna, restored: cannot use the store"
	ok 'the records are written' within 15 status_says '$j->{ok}{bootstrap}' '^done$'
	for stream in $all; do
		is "$(generation_of "$stream") $(store_id_of "$stream")" "$1 $request" "$stream has generation and id"
	done
	new_mirrors() {
		mirrored && [ "$(generation_of PLOYZ_INTENT "$machine") $(generation_of PLOYZ_MANIFESTS "$machine")" = "$1 $1" ]
	}
	ok 'the mirrors are of that generation' within 15 new_mirrors "$1"
	run as operator last PLOYZ_FACTS "ployz.v1.facts.$machine"
	like "$out" "\"generation\":$1" 'the facts name it'
	is "$(marked generation) $(marked store) $(marked cluster)" "$1 $request production" 'and so does the marker'
	status
	is "$(json '$j->{ok}{store}{state}')" good 'the store is good'
	is "$(json '$j->{ok}{store}{error}')" '' 'without an error'
	ask store.accept '{}'
	like "$out" 'it has no error' 'once'
	meshd_restart
	ok 'started again' within 10 says ': ready'
	unlike "$(cat "$work/meshd.log")" 'error|belongs to' 'it knows this store'
}

# It is put back while meshd runs.
as leased append ployz.v1.intent.namespace.later '{"namespace":"later"}' 0 >/dev/null
newest=$(last_of PLOYZ_INTENT)
ok 'the marker has the newest entry' within 15 marker_names intent "$newest"
put_back "$work/backup"
errs behind "it has lost entries, PLOYZ_INTENT ends at $((newest - 1)), this machine has seen $newest"
accepts 2

# It is put back, and has grown again before meshd sees it.
store_end
rm -rf "$work/backup"
cp -a "$work/store" "$work/backup"
store_start
within 15 linked
as leased append ployz.v1.intent.namespace.one '{"namespace":"one"}' 0 >/dev/null
newest=$(last_of PLOYZ_INTENT)
ok 'the marker has the newest entry' within 20 marker_names intent "$newest"
end_pid "$meshd_pid"
put_back "$work/backup"
within 15 linked
as leased append ployz.v1.intent.namespace.two '{"namespace":"two"}' 0 >/dev/null
as leased append ployz.v1.intent.namespace.three '{"namespace":"three"}' 0 >/dev/null
meshd_start
errs diverged "entry $newest of PLOYZ_INTENT is another than this machine has seen"
accepts 3

# It is empty.
store_end
rm -rf "$work/store"
store_start
errs missing 'PLOYZ_INTENT does not exist'
accepts 4
run as operator last PLOYZ_INTENT "ployz.v1.intent.member.$machine"
like "$out" "\"id\":\"$machine\"" 'the member record is there again'

# Another has created it.
end_pid "$meshd_pid"
store_end
rm -rf "$work/store"
store_start
within 15 linked
as meshd streams 1 stranger 1
meshd_start
errs other "PLOYZ_INTENT is of store stranger, this machine belongs to store $request"
accepts 5

# A lower generation, and an accept that was interrupted.
end_pid "$meshd_pid"
as meshd streams 1 "$request" 3
meshd_start
errs older 'its generation is 3, this machine has seen 5'
accepts 6
edit PLOYZ_STATUS ployz '$c->{metadata}{"ployz.generation"} = "7"'
errs mixed 'PLOYZ_STATUS has generation 7, PLOYZ_INTENT has 6'
accepts 8

# Accepted on another machine, whose meshd knows the same store.
as meshd streams 1 "$request" 9
ok 'a higher generation is taken' within 20 status_says '$j->{ok}{store}{generation}' '^9$'
unlike "$(cat "$work/meshd.log")" 'error' 'without an error'
ok 'and the facts name it' within 15 says 'generation 8 → 9'

# Without its state the machine takes the store that its mirrors fit …
end_pid "$meshd_pid"
rm -r "$state"
meshd_start
ok 'a store that the mirrors fit' within 10 says "this machine belongs to store $request, generation 9"
# … and no other.
as leased append ployz.v1.intent.namespace.mirrored '{"namespace":"mirrored"}' any >/dev/null
ok 'the mirrors have followed' within 10 mirrored
end_pid "$meshd_pid"
rm -r "$state"
put_back "$work/backup"
within 15 linked
meshd_start
ok 'a store that the mirrors contradict' within 10 says 'cannot use the store: .*this machine has seen.*store accept'
prepare --init production
ok 'not even with a request' sh -c "sleep 3; ! grep -q created '$work/meshd.log'"
is "$(marked generation)" '' 'no marker is written'
ask store.accept '{"operator":"anna"}'
is "$out" '{"ok":{"generation":10}}' 'until an operator accepts it'
ok 'then it is' within 15 status_says '$j->{ok}{bootstrap}' '^done$'
ok 'the request is over' test ! -e "$state/init.json"

# A request on a machine whose store holds another cluster.
end_pid "$meshd_pid"
rm -r "$state"
for stream in $three; do
	as meshd request "\$JS.$machine.API.STREAM.DELETE.$stream" '' >/dev/null
done
prepare --init fresh
meshd_start
ok 'init finds a store that exists' within 10 \
	says "cannot initialise cluster fresh: PLOYZ_INTENT exists already, of store $request.*store accept"
status
is "$(json '$j->{ok}{store}{state}')" foreign 'the status says so'
ask store.accept '{}'
is "$out" '{"ok":{"generation":11}}' 'accepted'
ok 'the machine belongs to that store' within 15 status_says '$j->{ok}{store}{id}' "^$request\$"
ok 'its records are there' within 15 status_says '$j->{ok}{bootstrap}' '^done$'

# A gateway that misses entries which meshd has never seen.
ask store.accept '{"operator":"anna","force":true}'
is "$out" '{"ok":{"generation":12}}' 'a store without an error is accepted with force'
ok 'and is the one of that generation' within 15 status_says '$j->{ok}{store}{generation}' '^12$'

# A damaged marker is no absent one.
end_pid "$meshd_pid"
cp "$state/store.json" "$work/store.json"
echo '{"store":' >"$state/store.json"
run meshd --config "$work/ployz.conf" --state "$state"
exits 1 'a damaged marker'
like "$err" "cannot decode $state/store.json.*restore it" 'is named'
prepare --init another
exits 1 'init does not overwrite it'
cp "$work/store.json" "$state/store.json"
meshd_start
ok 'restored' within 10 says ': ready'

end_pid "$meshd_pid"
done_testing
