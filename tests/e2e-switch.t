#!/bin/sh
# A redeploy of a service of two replicas under a steady load of the gateway: not one request fails.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

cluster_with_images

# web NAME IMAGE-TAG REPLICAS
web() {
	cat <<-END
	namespace: steady
	services:
	  web:
	    image: $image:$2
	    replicas: $3
	    command: [/bin/testsvc, --name, $1]
	    ports: {http: {port: 8080}}
	    routes: [{http: {port: http, hosts: [steady.test]}}]
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 5s
	END
}

# deploy NAME IMAGE-TAG REPLICAS WHAT
deploy() {
	web "$1" "$2" "$3" >"$work/web.yaml"
	run ctl deploy -f "$work/web.yaml"
	exits 0 "$4"
}

deploy one v1 2 'two replicas'
is "$(get steady.test / | head -n 1)" one 'which answer'

load_start steady.test /
deploy two v1 2 'a redeploy under load'
deploy three v2 2 'another image under load'
deploy three v2 4 'more replicas under load'
deploy three v2 2 'fewer replicas under load'
deploy four v1 2 'and back'
load_end
load_was_clean 'quick answers: not one request failed'
for name in one two three four; do
	like "$loaded" " $name=[0-9]" "$name was seen"
done

# Answers that are under way when the switch comes are finished by the one that began them.
load_start steady.test /slow/700
deploy five v2 2 'a redeploy while every request takes 0.7 s'
deploy six v1 2 'and another'
load_end
load_was_clean 'slow answers: not one request failed'

# A redeploy that fails is not seen at all.
load_start steady.test /
web seven v2 2 | sed 's/--name, seven/--name, seven, --exit, "3"/' >"$work/bad.yaml"
run ctl deploy -f "$work/bad.yaml"
exits 6 'a redeploy that fails'
load_end
load_was_clean 'not one request failed'
unlike "$loaded" ' seven=' 'and nothing of it was seen'
is "$(lines "$(containers steady)")" 2 'two containers are left'

# Stop-first: what is under way ends by itself, what comes meanwhile waits, also when it all was for nothing.
stop_first() {
	web "$1" v1 2 | sed 's/stop_grace.*/update: stop-first/'
}
load_start steady.test /slow/700
stop_first eight >"$work/web.yaml"
run ctl deploy -f "$work/web.yaml"
exits 0 'stop-first while every request takes 0.7 s'
load_end
load_was_clean 'stop-first: not one request failed'
load_start steady.test /slow/700
stop_first nine | sed 's/200ms/100ms, retries: 3/; s,/health,/env/never,' >"$work/bad.yaml"
run ctl deploy -f "$work/bad.yaml"
exits 6 'one that fails'
ok 'the old instances are ready again' within 20 answers steady.test / eight
load_end
load_was_clean 'stop-first that fails: not one request failed'
unlike "$loaded" ' nine=' 'and nothing of it was seen'
done_testing
