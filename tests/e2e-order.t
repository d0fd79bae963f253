#!/bin/sh
# The order of a deploy, and what stops one: two at once, a stale plan, a candidate that fails, host ports,
# stop-first, depends_on, pre_deploy. What served before serves on.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

cluster_with_images

# one NAMESPACE IMAGE [ARGUMENTS OF testsvc]: a namespace of one service; further lines from stdin.
one() {
	one_ns=$1 one_image=$2
	shift 2
	cat <<-END
	namespace: $one_ns
	services:
	  web:
	    image: $one_image
	    command: [/bin/testsvc, --name, $one_ns$(for arg; do printf ', "%s"' "$arg"; done)]
	    ports: {http: {port: 8080}}
	    ready: {http: {port: http, path: /health}, interval: 200ms, retries: 25}
	    stop_grace: 1s
	END
	sed 's/^/    /'
}

route() {
	printf 'routes: [{http: {port: http, hosts: [%s]}}]\n' "$1"
}

json_number() {
	printf '%s\n' "$1" | grep -o "\"$2\":[0-9]*" | head -n 1 | cut -d : -f 2
}

# Two at once: the second is refused at once, and told who holds the lease and since when.
route busy.test | one busy "$image:v1" >"$work/busy.yaml"
run ctl deploy -f "$work/busy.yaml"
exits 0 'a service to begin with'
route busy.test | one busy "$image:v2" --start-after 4000 >"$work/slow.yaml"
ctl deploy -f "$work/slow.yaml" >"$work/slow.out" 2>&1 </dev/null &
slow=$!
end_later $slow
ok 'the first deploy holds the lease' within 10 lease_is_held busy
run ctl deploy -f "$work/busy.yaml"
exits 4 'a second deploy is refused'
like "$err" 'busy' 'naming the namespace'
like "$err" 'since|seconds|ago|[0-9]+ s' 'and since when it is held'
run ctl lease ls
like "$out" 'busy.*held' 'lease ls shows the holder'
ok 'the old one serves meanwhile' answers busy.test / busy
is "$(get busy.test /file/etc/version)" v1 'it is the old one'
wait "$slow"
is "$?" 0 'the first one is done'
is "$(get busy.test /file/etc/version)" v2 'and in effect'

# A plan that is not of today.
run ctl --json plan -f "$work/busy.yaml"
sequence=$(json_number "$out" sequence)
route busy.test | one busy "$image:v1" --start-after 10 >"$work/third.yaml"
run ctl deploy -f "$work/third.yaml" --plan-seq "$sequence"
exits 0 'a plan of today is carried out'
run ctl deploy -f "$work/busy.yaml" --plan-seq "$sequence"
exits 5 'a stale plan is refused'

# A candidate that fails.
before=$(containers busy)
route busy.test | one busy "$image:v2" --exit 7 >"$work/bad.yaml"
run ctl deploy -f "$work/bad.yaml"
exits 6 'a candidate that exits fails the deploy'
like "$err" 'exits with 7|code 7|status 7' 'saying how it ended'
is "$(containers busy)" "$before" 'its containers are gone, the old one is the same'
ok 'and serves' answers busy.test / busy
route busy.test | one busy "$image:v2" --port 9999 >"$work/deaf.yaml"
run ctl deploy -f "$work/deaf.yaml"
exits 6 'a candidate that never becomes ready fails the deploy'
is "$(containers busy)" "$before" 'nothing is left of it'
run ctl deploy -f "$work/busy.yaml"
exits 0 'the next deploy is done'

# An image that does not exist.
before=$(containers busy)
route busy.test | one busy "plt-nowhere:none" >"$work/absent.yaml"
printf '    pull: never\n' >>"$work/absent.yaml"
run ctl deploy -f "$work/absent.yaml"
exits 6 'an image that does not exist fails the deploy'
like "$err" 'plt-nowhere:none' 'naming it'
is "$(containers busy)" "$before" 'nothing changed'

# A host port: stop-first by force, and nobody else's.
port=$(free_port)
printf 'publish: [{port: http, host_port: %s, address: 127.0.0.1}]\n' "$port" >"$work/publish"
one door "$image:v1" <"$work/publish" >"$work/door.yaml"
run ctl deploy -f "$work/door.yaml"
exits 0 'a service on a host port'
is "$(curl -s --max-time 5 "http://127.0.0.1:$port/" | head -n 1)" door 'which answers'
one door "$image:v2" <"$work/publish" >"$work/door.yaml"
run ctl plan -f "$work/door.yaml"
like "$out" 'stop-first' 'its replacement stops the old one first'
run ctl deploy -f "$work/door.yaml"
exits 0 'and is done'
is "$(curl -s --max-time 5 "http://127.0.0.1:$port/file/etc/version")" v2 'the new one answers'
one door "$image:v1" --exit 9 <"$work/publish" >"$work/door-bad.yaml"
run ctl deploy -f "$work/door-bad.yaml"
exits 6 'a stop-first candidate that fails'
ok 'the old one is back' within 10 curl -sf --max-time 2 "http://127.0.0.1:$port/"
is "$(curl -s --max-time 5 "http://127.0.0.1:$port/file/etc/version")" v2 'as it was'
one rival "$image:v1" <"$work/publish" >"$work/rival.yaml"
run ctl plan -f "$work/rival.yaml"
like "$out$err" "$port.*door|door.*$port" 'the plan says who has the host port'
run ctl deploy -f "$work/rival.yaml"
exits 6 'a host port that is taken is refused'
is "$(containers rival)" '' 'nothing was started'
other=$(free_port)
start "$work/squat.log" testsvc --port "$other" --name squatter
within 5 listens "127.0.0.1:$other"
printf 'publish: [{port: http, host_port: %s, address: 127.0.0.1}]\n' "$other" |
	one rival "$image:v1" >"$work/squat.yaml"
run ctl deploy -f "$work/squat.yaml"
exits 6 'so is one that something else listens on'
like "$err" "$other" 'naming it'
is "$(containers rival)" '' 'nothing is left'

# A route of another namespace.
route busy.test | one thief "$image:v1" >"$work/thief.yaml"
run ctl deploy -f "$work/thief.yaml"
exits 6 'a route of another namespace is refused'
like "$err" 'busy\.test' 'naming the route'
like "$err" 'busy[^.]' 'and its owner'
is "$(containers thief)" '' 'nothing was started'

# Stop-first without a host port: requests wait for the new one.
route slowly.test | one slowly "$image:v1" >"$work/slowly.yaml"
printf '    update: stop-first\n' >>"$work/slowly.yaml"
run ctl deploy -f "$work/slowly.yaml"
exits 0 'a stop-first service'
sed 's/:v1/:v2/' "$work/slowly.yaml" >"$work/slowly2.yaml"
load_start slowly.test /
run ctl deploy -f "$work/slowly2.yaml"
load_end
exits 0 'is replaced'
load_was_clean 'requests waited for the new one'
is "$(lines "$(containers slowly)")" 1 'one container is left'

# depends_on: the second starts when the first is ready.
cat >"$work/chain.yaml" <<END
namespace: chain
services:
  app:
    image: $image:v1
    command: [/bin/testsvc, --name, app]
    ports: {http: {port: 8080}}
    ready: {tcp: {port: http}, interval: 200ms}
    depends_on: [db]
    stop_grace: 1s
  db:
    image: $image:v1
    command: [/bin/testsvc, --name, db, --start-after, "2000"]
    ports: {http: {port: 8080}}
    ready: {tcp: {port: http}, interval: 200ms}
    stop_grace: 1s
END
run ctl deploy -f "$work/chain.yaml"
exits 0 'a chain of two'
started_ms() {
	date -d "$(engine_api GET "/containers/$1/json" | grep -o '"StartedAt":"[^"]*"' | cut -d '"' -f 4)" +%s%3N
}
apart=$(($(started_ms "$(containers chain app)") - $(started_ms "$(containers chain db)")))
ok "app started $apart ms after db" [ "$apart" -ge 1900 ]

# pre_deploy.
{
	route before.test
	echo 'pre_deploy: {command: [/bin/sh, -c, "echo migrating; exit 0"], timeout: 30s}'
} | one before "$image:v1" >"$work/before.yaml"
run ctl deploy -f "$work/before.yaml"
exits 0 'a pre_deploy that succeeds'
like "$out$err" 'migrating' 'its output is shown'
is "$(lines "$(containers before)")" 1 'its container is gone'
{
	route before.test
	echo 'pre_deploy: {command: [/bin/sh, -c, "echo no such table; exit 5"], timeout: 30s}'
} | one before "$image:v2" >"$work/before.yaml"
run ctl deploy -f "$work/before.yaml"
exits 6 'a pre_deploy that fails'
like "$out$err" 'no such table' 'its output is shown'
like "$err" '\b5\b' 'and its exit code'
is "$(get before.test /file/etc/version)" v1 'what served before serves on'
is "$(lines "$(containers before)")" 1 'nothing is left of it'

# One that ignores TERM is killed after its grace.
one deaf "$image:v1" --ignore-term </dev/null >"$work/deaf.yaml"
run ctl deploy -f "$work/deaf.yaml"
exits 0 'a service that ignores TERM'
run ctl ns rm deaf --yes
exits 0 'goes all the same'
is "$(containers deaf)" '' 'and is gone'

# The operator's hand is killed: the deploy goes on.
route busy.test | one busy "$image:v2" --start-after 3000 >"$work/slow.yaml"
ctl deploy -f "$work/slow.yaml" >"$work/killed.out" 2>&1 </dev/null &
hand=$!
within 10 lease_is_held busy
kill -KILL "$hand" 2>/dev/null
deploy_id=$(ctl --json lease show busy | grep -o '"deploy":"[^"]*"' | cut -d '"' -f 4)
run ctl deploy attach "$deploy_id"
exits 0 'a deploy whose ployzctl was killed is followed to its end'
is "$(get busy.test /file/etc/version)" v2 'and is in effect'

done_testing
