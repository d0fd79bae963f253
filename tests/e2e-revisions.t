#!/bin/sh
# Revisions and what goes wrong after a commit, with a real cluster: diff, rollback with the images that ran, cancel,
# sweep, a route that the gateway cannot serve; status and exit codes report each of them.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

cluster_with_images

# shop VERSION COLOUR [MORE-ROUTES] [MORE-ARGUMENTS]
shop() {
	cat <<-END
	namespace: shop
	services:
	  web:
	    image: $image:$1
	    command: [/bin/testsvc, --name, "$2"${4-}]
	    env: {COLOUR: $2}
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [shop.test]}}${3-}]
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 1s
	END
}
deploy() { # deploy NAME VERSION COLOUR
	shop "$2" "$3" >"$work/shop.yaml"
	run ctl deploy -f "$work/shop.yaml"
	exits 0 "$1"
}
status_is_good() {
	ctl status
}
revisions() {
	ctl --json ns history shop | grep -c .
}

resolver_port=${resolver#*:}
deploy 'the first revision' v1 blue
deploy 'the second one' v2 green
is "$(get shop.test /file/etc/version)" v2 'runs'
ok 'nothing is wrong' within 10 status_is_good

# --- diff
run ctl diff shop 1
exits 1 'they differ'
like "$out" "~ image: $image:v1 to $image:v2" 'in the image'
like "$out" '~ digest: sha256:[0-9a-f]{12} to sha256:[0-9a-f]{12}' 'in its digest'
like "$out" '~ env.COLOUR: blue to green' 'in the environment'
run ctl diff shop 2
exits 0 'the current one equals itself'

# --- rollback: the image that ran, although its name means another one now
engine_api POST "/images/$image:v2/tag?repo=$image&tag=v1" >/dev/null
run ctl rollback shop
exits 0 'back to the revision before'
like "$err" 'namespace shop: back to revision 1' 'says to which'
like "$err" '~ 0 replace on' 'shows the plan'
is "$(get shop.test /env/COLOUR)" blue 'its environment is in effect'
is "$(get shop.test /file/etc/version)" v1 'and its image, not what the name means now'
is "$(revisions)" 3 'it is a revision of its own'
run ctl diff shop 1
exits 0 'equal to the one that it went back to'
run ctl --json ns history shop
like "$out" '"verb":"rollback"' 'the history says how'
before=$(containers shop)
run ctl rollback shop --to 3
exits 0 'to the current one'
like "$out" 'nothing to change' 'nothing changes'
is "$(containers shop)" "$before" 'no container was touched'
run ctl rollback shop --to 2 --why 'the tag moved'
exits 0 'to a revision that is named'
is "$(get shop.test /env/COLOUR)" green 'is in effect'
run ctl ns history shop
like "$out" 'the tag moved' 'with its reason'

# --- cancel
starts() {
	ctl --json ps | grep -Eq '"state":"(created|starting)"'
}
before=$(containers shop)
shop v2 slow '' ', --start-after, "60000"' >"$work/shop.yaml"
ctl deploy -f "$work/shop.yaml" >"$work/slow.out" 2>&1 </dev/null &
slow=$!
end_later $slow
ok 'a deploy that takes long' within 20 starts
id=$(ctl --json lease show shop | grep -o '"deploy":"[^"]*"' | cut -d '"' -f 4)
run ctl deploy cancel "$id"
exits 0 'is cancelled'
like "$out" "deploy $id of namespace shop: cancelled, nothing changed" 'says so'
wait "$slow"
is "$?" 6 'its own terminal: failed before the commit'
is "$(containers shop)" "$before" 'its candidates are gone, what ran runs'
is "$(get shop.test /env/COLOUR)" green 'and serves'
run ctl deploy cancel "$id"
exits 1 'once more: it is not executed any more'
run ctl deploy attach "$id"
exits 6 'attach says how it ended'
run ctl status
exits 0 'nothing is wrong'

# --- a route that the gateway cannot serve: another program takes its port after the plan
port=$(free_port)
route=", {tcp: {port: http, listen: $port}}"
shop v2 red "$route" ', --start-after, "2000"' >"$work/shop.yaml"
ctl deploy -f "$work/shop.yaml" >"$work/late.out" 2>&1 </dev/null &
late=$!
end_later $late
ok 'a deploy with a tcp route is under way' within 20 starts
start "$work/squat.log" testsvc --port "$port" --name squatter
squatter=$started
within 5 listens "127.0.0.1:$port"
wait "$late"
is "$?" 1 'it has committed, and a route is not served'
like "$(cat "$work/late.out")" 'committed revision' 'it says that it has committed'
like "$(cat "$work/late.out")" 'ployzctl: 1 route of namespace shop not served; run `ployzctl route ls`' 'and that a route is not served'
like "$(cat "$work/late.out")" "^  .*tcp/$port" 'which'
run ctl status
exits 1 'status says no'
like "$out" "route tcp/$port of shop/web not served by the gateway" 'and names the route'
run ctl route ls
exits 1 'so does route ls'
like "$err" "cannot serve route tcp/$port" 'and names the route'
shop v2 red "$route, {tcp: {port: http, listen: $resolver_port}}" >"$work/shop.yaml"
run ctl deploy -f "$work/shop.yaml"
exits 6 'a port of another program is refused by the plan'
like "$err" "services\.web\.routes.*$resolver_port" 'with its place in the manifest'
end_pid "$squatter"
ok 'with the port free, nothing is wrong' within 30 status_is_good
run ctl route ls
exits 0 'and all routes are served'

# --- a pending clean-up: the gateway does not confirm the commit
run ctl deploy sweep shop
exits 0 'sweep where nothing is pending'
run ctl deploy sweep
exits 0 'of all namespaces'
is "$out" 'no clean-up is pending' 'says so'
routed=$(pid_of routed)
kill -STOP "$routed"
shop v1 white >"$work/shop.yaml"
run ctl deploy -f "$work/shop.yaml"
exits 7 'a deploy that the gateway does not confirm: committed, clean-up pending'
like "$err" 'run `ployzctl deploy sweep shop`' 'the next step is named'
like "$err" '^  shop-web-0-[a-z2-7]* on machine' 'and what is left'
is "$(lines "$(containers shop web)")" 2 'the old container still runs'
kill -CONT "$routed"
within 10 answers shop.test / white
run ctl status
exits 1 'status says no'
like "$out" 'of namespace shop clean-up pending: 1 instance left; run `ployzctl deploy sweep shop`' 'and names the clean-up'
run ctl deploy sweep
exits 0 'sweep finishes it'
is "$(lines "$(containers shop web)")" 1 'the old container is gone'
run ctl status
exits 0 'nothing is wrong'

# --- usage, compaction
run ctl store usage
exits 0 'store usage'
like "$out" '^shop +[0-9.]+ [KM]iB ' 'accounts the namespace'
run ctl store compact --keep 2 --yes
exits 0 'store compact'
[ "$(revisions)" -lt 5 ] || fail 'the oldest revisions are dropped' "$(ctl ns history shop)"
run ctl rollback shop --to 1
exits 1 'to a revision that is not kept'
like "$err" 'cannot find revision 1 of namespace shop: revisions? [0-9]+ to [0-9]+ are kept' 'says what is kept'
is "$(get shop.test /env/COLOUR)" white 'what runs serves'
ok 'nothing is wrong' within 20 status_is_good
done_testing
