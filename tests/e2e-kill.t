#!/bin/sh
# kill -9 of every process of the cluster in turn, idle and in the middle of a deploy, under a steady load:
# traffic goes on, containers stay, and the next deploy succeeds.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

DAEMONS='meshd leased placerd routed dnsd agentd'

cluster_with_images

# web NAME [ARGUMENTS]
web() {
	web_name=$1
	shift
	cat <<-END
	namespace: tough
	services:
	  web:
	    image: $image:v1
	    replicas: 2
	    command: [/bin/testsvc, --name, $web_name$(for arg; do printf ', "%s"' "$arg"; done)]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [tough.test]}}]
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 2s
	END
}

number=0
next_deploy() {
	number=$((number + 1))
	web "w$number" >"$work/next.yaml"
	run ctl deploy -f "$work/next.yaml"
	exits 0 "$1"
	is "$(get tough.test / | head -n 1)" "w$number" 'and is in effect'
	is "$(lines "$(containers tough)")" 2 'two containers, no more'
}

# kill_one NAME: KILL, and another one in its place.
kill_one() {
	old=$(pid_of "$1")
	if [ -z "$old" ]; then
		fail "$1 has a pid"
		return
	fi
	kill -KILL "$old"
	ok "$1 was killed and is there again" within 30 restarted "$1" "$old"
}

next_deploy 'first deploy'

# Idle.
for name in $DAEMONS bus store; do
	before=$(containers tough)
	load_start tough.test /
	kill_one "$name"
	ok "names are answered after $name" within 20 both_have_names tough
	load_end
	load_was_clean "traffic went on without $name"
	is "$(containers tough)" "$before" 'the containers are the same'
	ok 'the store answers' within 10 store_answers
	next_deploy "the deploy after $name"
done

before=$(containers tough)
kill_one gateway
ok 'traffic is back after the gateway' within 10 answers tough.test / "w$number"
is "$(containers tough)" "$before" 'the containers are the same'
next_deploy 'the deploy after the gateway'

# In the middle of a deploy, while its candidates start.
for name in $DAEMONS bus store; do
	serving=w$number
	load_start tough.test /
	web "mid-$name" --start-after 2500 >"$work/mid.yaml"
	ctl deploy -f "$work/mid.yaml" >"$work/mid.out" 2>&1 </dev/null &
	hand=$!
	end_later $hand
	ok "candidates of the deploy in which $name dies" \
		within 20 candidates_start
	kill_one "$name"
	wait "$hand"
	mid=$?
	now=$(get tough.test / | head -n 1)
	case $mid in
	0 | 7) is "$now" "mid-$name" "it said done ($mid), and is" ;;
	*) is "$now" "$serving" "it said $mid, and the old one serves" ;;
	esac
	next_deploy "the deploy after one in which $name died"
	load_end
	load_was_clean "traffic went on while $name died in the middle"
done

# All at once.
before=$(containers tough)
for name in $DAEMONS bus store; do
	kill -KILL "$(pid_of "$name")"
done
is "$(get tough.test / | head -n 1)" "w$number" 'traffic goes on with every daemon dead'
ok 'the cluster is whole again' within 40 ctl status
is "$(containers tough)" "$before" 'the containers are the same'
next_deploy 'the deploy after all'

# A container dies by itself: its engine starts it again, and it serves again.
web dies >"$work/dies.yaml"
run ctl deploy -f "$work/dies.yaml"
exits 0 'a service whose containers will die'
one=$(containers tough | head -n 1)
process=$(engine_api GET "/containers/$one/json" | grep -o '"Pid":[0-9]*' | cut -d : -f 2)
kill -KILL "$process"
# What was sent to it before that is lost with it.
within 5 gone "$process"
ok 'the other one serves' answers tough.test / dies
both_ready() {
	[ "$(ctl --json ps | grep -c '"ready"')" -eq 2 ]
}
ok 'both are ready again' within 30 both_ready
done_testing
