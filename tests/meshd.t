#!/bin/sh
# meshd against real nats-servers: what it prepares, how it bootstraps the store, what it writes, what each user may do,
# how full the store is, and its compaction.
. tests/lib/tap.sh
. tests/lib/fixture.sh

. tests/lib/meshd.sh

# Without a suitable server nothing is prepared.
old=$work/old
mkdir "$old"
printf '#!/bin/sh\necho "nats-server: v2.9.10"\n' >"$old/nats-server"
printf '#!/bin/sh\nexit 1\n' >"$old/broken"
printf '#!/bin/sh\necho hello\n' >"$old/other"
chmod +x "$old"/*
prepare --nats-server "$old/nats-server"
exits 1 'a nats-server that is too old'
like "$err" '2\.9\.10.*2\.10 or newer' 'the message has its version and the accepted ones'
is "$(printf '%s\n' "$err" | wc -l)" 1 'in one sentence'
prepare --nats-server "$work/nowhere"
exits 1 'no nats-server'
like "$err" 'not installed.*install' 'the message has the next step'
prepare --nats-server "$old/broken"
exits 1 'one that does not work'
prepare --nats-server "$old/other"
exits 1 'one that is something else'
ok 'nothing was written' test ! -e "$credentials"
prepare --bus nats://192.0.2.1:4222
exits 1 'a local bus that is not local'
like "$err" '192\.0\.2\.1.*loopback.*change --bus' 'is named'
prepare --subnet 192.168.0.0/16
exits 1 'a subnet outside 10.0.0.0/8'
like "$err" '192\.168\.0\.0/16' 'is named'

# --prepare
prepare
exits 0 'prepare'
machine=$(cat "$credentials/machine")
like "$machine" '^[a-z][a-z2-7]{11}$' 'an id'
is "$(stat -c %a "$credentials")" 700 'the credentials are closed'
is "$(stat -c %a "$credentials"/* "$work"/run/*.conf | sort -u)" 600 'and every file in them, and what was rendered'
is "$(stat -c %a "$work/etc")" 755 'the directory above is not'
is "$(sed -n 's/^user = //p' "$credentials"/*.conf | sort | tr '\n' ' ')" \
	"$(printf '%s\n' agentd dnsd leased meshd operator placerd routed "$machine" | sort | tr '\n' ' ')" 'a user for each'
for file in nats store; do
	run nats-server -t -c "$work/run/$file.conf"
	exits 0 "nats-server takes $file.conf"
done
before=$(cat "$credentials"/* "$work"/run/*.conf | sha256sum)
prepare
is "$(cat "$credentials"/* "$work"/run/*.conf | sha256sum)" "$before" 'prepared again: the same'
chmod 755 "$credentials"
cp "$credentials/dnsd.conf" "$work/dnsd.conf"
echo 'user = dnsd' >"$credentials/dnsd.conf"
prepare
exits 1 'a damaged credential'
like "$err" 'dnsd\.conf.*remove it' 'is named'
is "$(cat "$credentials/dnsd.conf")" 'user = dnsd' 'and left alone'
cp "$work/dnsd.conf" "$credentials/dnsd.conf"
prepare
is "$(stat -c %a "$credentials")" 700 'an opened directory is closed again'
ok 'no state without --init' test ! -e "$state"

# The servers, and meshd before them.
meshd_start
ok 'waits for the bus' within 5 says 'waiting for it'
local_start
ok 'reports a store that does not answer' within 10 says 'cannot reach the store: .*retrying, running containers continue'
ok 'and is ready all the same' within 5 says ': ready'
status
is "$(json '$j->{ok}{store}{state}')" unreachable 'the status says so'

# Without a request no stream is ever created.
store_start
ok 'without init nothing is created' within 10 says 'cannot find a cluster: PLOYZ_INTENT does not exist; run .ployzctl init NAME.'
info PLOYZ_INTENT
like "$out" 'stream not found' 'there is no stream'
status
is "$(json '$j->{ok}{bootstrap}')" 'waiting for `ployzctl init NAME`' 'the status says what is waited for'
is "$(json '$j->{ok}{store}{state}')" uninitialised 'and of the store'
run meshd --config "$work/ployz.conf" --init prod
exits 1 '--init without --prepare'
like "$err" 'ployzctl init prod' 'names the command'
prepare --init 'Prod_1'
exits 1 'an invalid name'
like "$err" "cluster 'Prod_1'.*a-z" 'is named, with what is valid'
ok 'no request was left' test ! -e "$state/init.json"
ask store.accept '{}'
like "$out" 'cannot find a cluster.*ployzctl init' 'there is nothing to accept'
ask store.compact '{"keep":10}'
like "$out" 'cannot find a cluster.*ployzctl init' 'nor to compact'
ask store.usage '{}'
like "$out" 'PLOYZ_INTENT does not exist' 'nor to account'

# init beside the meshd that waits, after a first one with a wrong name and a crash in the middle of it.
end_pid "$meshd_pid"
prepare --init porduction
exits 0 'init'
request=$(sed -n 's/.*"store":"\([a-z0-9]*\)".*/\1/p' "$state/init.json")
prepare --init production
like "$(cat "$state/init.json")" "\"cluster\":\"production\",\"store\":\"$request\"" 'the name changes, the id of the store does not'
cp "$state/init.json" "$work/init.json"
as meshd stream "{\"name\":\"PLOYZ_FACTS\",\"subjects\":[\"ployz.v1.facts.>\"],\"storage\":\"file\",\"retention\":\"limits\",
	\"max_msgs_per_subject\":1,\"discard\":\"new\",\"deny_delete\":true,\"deny_purge\":true,\"max_bytes\":134217728,
	\"metadata\":{\"ployz.generation\":\"1\",\"ployz.store\":\"$request\"}}" ployz
rm "$state/init.json"
meshd_start
ok 'a part of a store is not taken' within 10 says 'cannot find a cluster: PLOYZ_INTENT does not exist'
cp "$work/init.json" "$state/init.json"
ok 'the request is found' within 10 says "this machine belongs to cluster production, store $request, generation 1"
ok 'the rest was created' within 10 says 'region default: role compute'
unlike "$(cat "$work/meshd.log")" 'created PLOYZ_FACTS' 'but not what was there'
ok 'the request has been carried out' test ! -e "$state/init.json"
status
is "$(json '$j->{ok}{bootstrap}')" done 'its status: done'
is "$(json '$j->{ok}{cluster}')" production 'with the cluster'
is "$(json '$j->{ok}{store}{state}')" good 'and the store'
is "$(json '$j->{ok}{store}{id}')" "$request" 'its id'
is "$(json '$j->{ok}{store}{generation}')" 1 'and its generation'
prepare --init production
exits 0 'init again with the same name: nothing to do'
prepare --init another
exits 1 'init with another name'
like "$err" 'cannot initialise cluster another: this machine belongs to cluster production' 'is refused'
ok 'and leaves no request' test ! -e "$state/init.json"

# The records.
run as operator last PLOYZ_INTENT "ployz.v1.intent.member.$machine"
exits 0 'the machine has a member record'
like "$out" "\"id\":\"$machine\"" 'its id'
like "$out" '"name":"web-01"' 'its name made valid'
like "$out" '"life_cycle":"active"' 'active'
like "$out" '"seat":true' 'with a store seat'
like "$out" '"region":"default"' 'in the default region'
like "$out" '"nonce":"[a-z0-9]+"' 'and a nonce'
unlike "$out" 'x86_64|version' 'no facts in it'
subnet=$(printf '%s' "$out" | sed -n 's/.*"subnet":"\(10\.101\.[0-9]*\.0\/24\)".*/\1/p')
isnt "$subnet" '' 'a subnet'
claim=$(printf '%s' "$subnet" | sed 's/\.0\/24//; s/\./-/g')
run as operator last PLOYZ_INTENT "ployz.v1.intent.subnet.$claim"
like "$out" "\"machine\":\"$machine\"" 'that it has claimed'
run as operator last PLOYZ_INTENT ployz.v1.intent.region.default
like "$out" '"role":"compute"' 'the region has a role'
run as operator last PLOYZ_FACTS "ployz.v1.facts.$machine"
like "$out" "\"version\":\"[0-9.]+\",\"arch\":\"$(uname -m)\"" 'its facts: version and architecture'
like "$out" "\"cpus\":$(nproc)" 'cpus'
like "$out" '"memory":' 'memory'
like "$out" '"generation":1' 'and generation'

# The streams.
info PLOYZ_INTENT
for part in '"max_msgs_per_subject":256' '"discard":"new"' '"allow_rollup_hdrs":false' '"deny_delete":true' \
	'"deny_purge":true' '"storage":"file"' '"max_bytes":268435456' '"ployz.generation":"1"' "\"ployz.store\":\"$request\""; do
	like "$out" "$part" "the log: $part"
done
info PLOYZ_STATUS
like "$out" '"discard":"old"' 'the status records go by age'
info KV_PLOYZ_LEASES
like "$out" '"max_msgs_per_subject":1,' 'leases have no history'
like "$out" '"max_age":0' 'and no age'
ok 'the machine has local mirrors' within 10 mirrored
info PLOYZ_INTENT "$machine"
like "$out" '"deny_purge":true' 'which nobody purges either'

# Started again: nothing is appended that did not change.
entries=$(all_last)
ok 'the marker follows' within 15 marker_names intent "${entries%% *}"
meshd_restart
ok 'again' within 10 says ': ready'
is "$(all_last)" "$entries" 'no entry was appended'
meshd_restart --name renamed
ok 'with another name' within 10 says 'name web-01 → renamed'
run as operator last PLOYZ_INTENT "ployz.v1.intent.member.$machine"
like "$out" "\"subnet\":\"$subnet\"" 'the subnet stays'
is "$(last_of PLOYZ_FACTS)" 1 'and no fact is written for that'
end_pid "$meshd_pid"

# Another machine has the wanted subnet.
run as meshd append ployz.v1.intent.subnet.10-102-7 '{"machine":"another"}' 0
exits 0 'a claim of another machine'
run as meshd append ployz.v1.intent.member.another '{"id":"another","life_cycle":"active"}' 0
meshd_start --subnet 10.102.7.0/24
ok 'its subnet is not taken' within 10 says 'cannot claim a subnet: no subnet of 10\.102\.7\.0/24 is left.*change --subnet'
run as meshd append ployz.v1.intent.member.another '{"id":"another","life_cycle":"removed"}' any
ok 'until it is removed' within 10 says 'claimed subnet 10\.102\.7\.0/24'
run as operator last PLOYZ_INTENT ployz.v1.intent.subnet.10-102-7
like "$out" "\"machine\":\"$machine\"" 'then it is this machine'\''s'
ok 'and the records are complete' within 10 says 'streams and records are complete'
meshd_restart --subnet 10.102.8.0/24
ok 'a free one is taken at once' within 10 says 'claimed subnet 10\.102\.8\.0/24'
meshd_restart
ok 'as before' within 10 says ': ready'

# What each user may do: it tries all that the library has.
may() {
	permitted "$url" "$1" "$(secret "$1")" "$machine" 2>/dev/null | grep -v '^no ' | sed "s/$machine/SELF/g"
}
verbs_of() { # verbs_of STREAM WHERE
	for verb in info last follow; do
		echo "yes $verb $1 of $2"
	done
}
reads() { # reads STREAMS MIRRORS
	for stream in $1; do
		verbs_of "$stream" 'the store'
	done
	for stream in $2; do
		verbs_of "$stream" 'the mirror'
	done
}
appends() { # what a user may append, nobody may roll up
	for what in "$@"; do
		printf 'yes append %s\nrefused roll up %s (all)\nrefused roll up %s (sub)\n' "$what" "$what" "$what"
	done
}
may_only() {
	is "$(cat "$work/may.$1")" "$2" "what $1 may do, and no more"
}
trying=
for user in meshd leased placerd agentd routed dnsd operator; do
	may "$user" >"$work/may.$user" &
	trying="$trying $!"
done
# shellcheck disable=SC2086 # a list of pids
wait $trying
may_only meshd "$(reads "$all" '')
$(for stream in $three; do echo "yes info $stream of the mirror"; done)
$(appends 'a member' 'a subnet' 'a region' "its machine's facts")
$(for verb in CREATE UPDATE; do
	printf 'yes ask $JS.ployz.API.STREAM.%s.PLOYZ_INTENT\n' $verb
	printf 'yes ask $JS.ployz.API.STREAM.%s.KV_PLOYZ_LEASES\n' $verb
	printf 'yes ask $JS.SELF.API.STREAM.%s.PLOYZ_INTENT\n' $verb
done)
yes ask \$JS.SELF.API.STREAM.DELETE.PLOYZ_INTENT
yes ask ployz.v1.SELF.meshd.status"
may_only leased "$(reads "$all" "$three")
$(appends 'a namespace' 'a route claim' 'a manifest' "a deploy's status" 'a lease')"
may_only placerd "$(reads "$three" "$three")"
may_only agentd "$(reads "$both" "$both")
$(appends 'its instances')"
may_only routed "$(reads "$both" "$both")"
may_only dnsd "$(reads "$both" "$both")"
may_only operator "$(reads "$all" "$three")
yes ask ployz.v1.SELF.meshd.status"
run bus "$url" request ployz.v1.x.y.z '{}'
exits 1 'nobody without a name'
run bus "$url" operator:wrong request ployz.v1.x.y.z '{}'
exits 1 'nobody with a wrong password'
# An inbox is its user's own, and only those who may be asked by it may answer there.
start "$work/spy.log" bus "$url" "dnsd:$(secret dnsd)" listen '_INBOX.operator.>' 1 2
as operator request "ployz.v1.$machine.meshd.status" '{}' >/dev/null
wait "$started"
is "$(grep -c '^_INBOX' "$work/spy.log")" 0 'the answers to another user stay private'

# store.usage
for n in 1 2 3; do
	as leased append ployz.v1.intent.namespace.shop "{\"namespace\":\"shop\",\"release\":1,\"revision\":$n}" any
	as leased append ployz.v1.manifest.shop "{\"namespace\":\"shop\",\"n\":$n}" any
done >/dev/null
as leased append ployz.v1.intent.namespace.shop '{"namespace":"shop","release":1,"services":[{"name":"web",
	"slots":[{"slot":0,"instance":"a","machine":"m"},{"slot":1,"instance":"b","machine":"m"}]}],"routes":[{"key":"shop.test/",
	"service":"web","port":"http"}]}' any >/dev/null
as leased append ployz.v1.intent.route.shop%2Etest '{"key":"shop.test","namespace":"shop","deploy":"d1","epoch":1}' 0 >/dev/null
as agentd append "ployz.v1.facts.$machine.shop" '{"namespace":"shop"}' 0 >/dev/null
as leased append '$JS.ployz.API.$KV.PLOYZ_LEASES.shop' '{"namespace":"shop"}' 0 >/dev/null
as leased append ployz.v1.status.deploy.shop.d1 '{"deploy":"d1"}' 0 >/dev/null
ask store.usage '{}'
is "$(json 'join " ", map { $_->{stream} } @{$j->{ok}{streams}}')" "$all" 'usage: every stream'
is "$(json 'join " ", map { $_->{max_bytes} } @{$j->{ok}{streams}}')" '268435456 134217728 268435456 134217728 16777216' \
	'with its limit'
is "$(json 'join " ", map { $_->{namespace} } @{$j->{ok}{namespaces}}')" shop 'and every namespace'
is "$(json 'my ($n) = grep { $_->{namespace} eq "shop" } @{$j->{ok}{namespaces}}; "$n->{messages} $n->{routes} $n->{slots}"')" \
	'11 1 2' 'with its entries, routes and slots'
sizes=0
for entry in 'ployz.v1.intent.namespace.shop{"namespace":"shop","release":1,"revision":1}' \
	'ployz.v1.intent.namespace.shop{"namespace":"shop","release":1,"revision":2}' \
	'ployz.v1.intent.namespace.shop{"namespace":"shop","release":1,"revision":3}' \
	'ployz.v1.intent.namespace.shop{"namespace":"shop","release":1,"services":[{"name":"web",
	"slots":[{"slot":0,"instance":"a","machine":"m"},{"slot":1,"instance":"b","machine":"m"}]}],"routes":[{"key":"shop.test/",
	"service":"web","port":"http"}]}' \
	'ployz.v1.manifest.shop{"namespace":"shop","n":1}' 'ployz.v1.manifest.shop{"namespace":"shop","n":2}' \
	'ployz.v1.manifest.shop{"namespace":"shop","n":3}' \
	'ployz.v1.intent.route.shop%2Etest{"key":"shop.test","namespace":"shop","deploy":"d1","epoch":1}' \
	"ployz.v1.facts.$machine.shop{\"namespace\":\"shop\"}" '$KV.PLOYZ_LEASES.shop{"namespace":"shop"}' \
	'ployz.v1.status.deploy.shop.d1{"deploy":"d1"}'; do
	sizes=$((sizes + ${#entry}))
done
is "$(json 'my ($n) = grep { $_->{namespace} eq "shop" } @{$j->{ok}{namespaces}}; $n->{bytes}')" "$sizes" \
	'and the size of every subject and payload'
as operator request "ployz.v1.$machine.meshd.store.usage" '{}' >"$work/usage.1" &
first=$!
as operator request "ployz.v1.$machine.meshd.store.usage" '{}' >"$work/usage.2"
wait "$first"
is "$(cat "$work/usage.1")" "$(cat "$work/usage.2")" 'two askers at once get the same'

# The alarm.
info PLOYZ_MANIFESTS
bytes=$(json '$j->{state}{bytes}')
edit PLOYZ_MANIFESTS ployz "\$c->{max_bytes} = $bytes + 10"
ok 'a stream over its alarm is reported' within 15 says 'PLOYZ_MANIFESTS is over 80 % full .*changes are refused.*store compact'
status
is "$(json 'join " ", map { $_->{stream} } grep { $_->{alarm} } @{$j->{ok}{store}{streams}}')" PLOYZ_MANIFESTS \
	'and is in the status'
ask store.usage '{}'
is "$(json 'join " ", map { $_->{stream} } grep { $_->{alarm} } @{$j->{ok}{streams}}')" PLOYZ_MANIFESTS 'and in the usage'
edit PLOYZ_MANIFESTS ployz '$c->{max_bytes} = 268435456'

# store.compact
ask store.compact '{"keep":0}'
like "$out" '"INVALID"' 'to keep nothing is refused'
ask store.compact '{"keep":257}'
like "$out" '"INVALID"' 'and more than a stream keeps'
n=0
while [ "$n" -lt 40 ]; do
	n=$((n + 1))
	echo "as leased append ployz.v1.intent.namespace.blog '{\"namespace\":\"blog\",\"release\":MANIFEST,\"revision\":$n}' any"
	[ "$n" -gt 25 ] || echo "as leased append ployz.v1.manifest.blog '{\"namespace\":\"blog\",\"n\":$n}' any"
done >"$work/many"
# The head refers to the 11th manifest of 25: 15 from there on.
second=$(($(last_of PLOYZ_MANIFESTS) + 11))
eval "$(sed "s/MANIFEST/$second/" "$work/many")" >/dev/null
entries=$(all_last)
ok 'the mirrors have followed' within 10 mirrored
ask store.compact '{"keep":10,"operator":"anna"}'
is "$(json '$j->{ok}{messages_before} - $j->{ok}{messages_after}')" 36 'compact drops 30 heads and 6 manifests'
is "$(json '$j->{ok}{bytes_before} > $j->{ok}{bytes_after}')" 1 'and their bytes'
ok 'it is logged, with the operator' says 'compacting the store to 10 entries per subject, for anna'
count_of() { # count_of SUBJECT STREAM [DOMAIN]
	run as meshd request "\$JS.${3:-ployz}.API.STREAM.INFO.$2" '{"subjects_filter":">"}'
	json "\$j->{state}{subjects}{\"$1\"}"
}
for domain in ployz "$machine"; do
	is "$(count_of ployz.v1.intent.namespace.blog PLOYZ_INTENT "$domain")" 10 "10 heads stay ($domain)"
	is "$(count_of ployz.v1.manifest.blog PLOYZ_MANIFESTS "$domain")" 19 \
		"manifests stay back to the committed one, and 4 more ($domain)"
	is "$(count_of ployz.v1.intent.namespace.shop PLOYZ_INTENT "$domain")" 4 "fewer stay as they were ($domain)"
	is "$(limit_of PLOYZ_INTENT "$domain") $(limit_of PLOYZ_MANIFESTS "$domain")" '256 64' "the limits are restored ($domain)"
done
is "$(all_last)" "$entries" 'sequences are as they were'
run as operator last PLOYZ_INTENT ployz.v1.intent.namespace.blog
like "$out" '"revision":40' 'the last entry is there'
ask store.compact '{"keep":256}'
is "$(json '$j->{ok}{messages_before} - $j->{ok}{messages_after}')" 0 'to keep all drops nothing'
# Another machine's compaction reaches this machine's mirror.
eval "$(sed "s/MANIFEST/$second/" "$work/many" | grep intent)" >/dev/null
ok 'the mirrors have followed' within 10 mirrored
edit PLOYZ_INTENT ployz '$c->{max_msgs_per_subject} = 5'
edit PLOYZ_INTENT ployz '$c->{max_msgs_per_subject} = 256'
mirror_compacted() {
	[ "$(count_of ployz.v1.intent.namespace.blog PLOYZ_INTENT "$machine")" = 5 ] &&
		[ "$(limit_of PLOYZ_INTENT "$machine")" = 256 ]
}
ok 'a mirror drops what the store has dropped' within 25 mirror_compacted
# Interrupted, it leaves low limits.
end_pid "$meshd_pid"
edit PLOYZ_INTENT ployz '$c->{max_msgs_per_subject} = 7'
edit PLOYZ_MANIFESTS "$machine" '$c->{max_msgs_per_subject} = 7'
meshd_start
limits_restored() {
	[ "$(limit_of PLOYZ_INTENT) $(limit_of PLOYZ_MANIFESTS "$machine")" = '256 64' ]
}
ok 'limits that an interrupted compaction left are restored' within 10 limits_restored

run meshd --config "$work/ployz.conf" --state "$state"
exits 1 'a second meshd'
like "$err" 'another' 'is refused'
kill -TERM "$meshd_pid"
wait "$meshd_pid"
is "$?" 0 'ends on SIGTERM'
done_testing
