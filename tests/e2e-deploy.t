#!/bin/sh
# The whole way of a deploy on one machine, as an operator types it, seen from outside: the gateway, the
# resolver, the engine, and what ployzctl says.
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh

cluster_with_images

# shop WEB-IMAGE REPLICAS COLOUR: two services, one of which talks to the other by name.
shop() {
	cat <<-END
	namespace: shop
	services:
	  web:
	    image: $image:$1
	    replicas: $2
	    command: [/bin/testsvc, --name, web]
	    env: {COLOUR: $3}
	    files: {/etc/web.conf: "size = 3\n"}
	    ports: {http: {port: 8080}}
	    routes:
	      - http: {port: http, hosts: [shop.test]}
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 2s
	    depends_on: [api]
	  api:
	    image: $image:v1
	    command: [/bin/testsvc, --name, api, --start-after, "1000"]
	    ports: {http: {port: 8080}}
	    ready: {http: {port: http, path: /health}, interval: 200ms}
	    stop_grace: 2s
	END
}

hosts_seen() {
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
		get shop.test / | sed -n 2p
	done | sort -u
}

shop v1 2 green >"$work/shop.yaml"

run ctl version
exits 0 'version'
run ctl ps
exits 0 'ps of an empty cluster'

run ctl plan -f "$work/shop.yaml"
exits 1 'a plan with changes says no'
like "$out" 'web' 'the plan names web'
like "$out" 'api' 'the plan names api'
is "$(containers shop)" '' 'a plan starts nothing'

run ctl deploy -f "$work/shop.yaml"
exits 0 'first deploy'
is "$(lines "$(containers shop web)")" 2 'two containers of web'
is "$(lines "$(containers shop api)")" 1 'one container of api'
before=$(containers shop)

# Traffic.
is "$(get shop.test / | head -n 1)" web 'the gateway answers'
is "$(lines "$(hosts_seen)")" 2 'both replicas are asked'
like "$(get_status other.test /)" '^(404|503)$' 'a host of nobody gets no service'
is "$(get shop.test /env/COLOUR)" green 'the environment is there'
is "$(get shop.test /file/etc/web.conf)" 'size = 3' 'the file is there'
is "$(get shop.test /file/etc/version)" v1 'the image is the one'

# Names.
is "$(get shop.test /fetch/api:8080/ | head -n 1)" api 'web talks to api by name'
api_address=$(ask api.shop.ployz.internal A)
like "$api_address" '^10\.101\.' 'the resolver knows api'
for name in api api.ployz.internal api.shop.ployz.internal; do
	is "$(get shop.test "/resolve/$name")" "$api_address" "inside, $name is api"
done
is "$(lines "$(ask web.shop.ployz.internal A)")" 2 'web has two addresses'
is "$(lines "$(ask 0.web.shop.ployz.internal A)")" 1 'slot 0 of web has one'
like "$(ask _http._tcp.web.shop.ployz.internal SRV)" ' 8080 ' 'SRV tells the port'
is "$(ask_status web.shop.ployz.internal AAAA)" NOERROR 'no AAAA is no error'
is "$(ask web.shop.ployz.internal AAAA)" '' 'and is empty'
is "$(ask_status nobody.shop.ployz.internal A)" NXDOMAIN 'an unknown service does not exist'
is "$(lines "$(ask web.shop.ployz.internal A +tcp)")" 2 'the resolver answers over TCP'
is "$(ask_status web.shop.ployz.internal A +noedns)" NOERROR 'and without EDNS'

# What ployzctl shows.
run ctl ps
exits 0 'ps'
is "$(printf '%s\n' "$out" | grep -Ec '\bready\b')" 3 'three are ready'
run ctl --json ps
like "$out" '^\{.*"ready"' 'ps in JSON, one object a line'
run ctl status
exits 0 'status'
run ctl ns ls
like "$out" 'shop' 'ns ls names it'
run ctl ns show shop
exits 0 'ns show'
like "$out" 'web' 'with its services'
run ctl ns history shop
exits 0 'ns history'
run ctl route ls
like "$out" 'shop\.test.*' 'route ls names the host'
run ctl dns query api --as shop
exits 0 'dns query'
like "$out" "$api_address" 'answers as the resolver does'
run ctl dns query nobody.shop.ployz.internal
exits 1 'dns query of an unknown name says no'
run ctl lease ls
exits 0 'lease ls'
like "$out" 'shop.*free' 'the lease is free again'
run ctl lease show shop
exits 0 'lease show'
run ctl deploy ls
exits 0 'deploy ls'
like "$out" 'shop.*done' 'the deploy is done'
deploy_id=$(ctl --json deploy ls | grep -o '"deploy":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
run ctl deploy show "$deploy_id"
exits 0 'deploy show'
like "$out" 'committ' 'tells its phases'
run ctl deploy attach "$deploy_id"
exits 0 'attaching to a deploy that is done says so'
run ctl events
exits 0 'events'
like "$out" 'shop' 'name the namespace'
run ctl logs web
exits 0 'logs'
like "$out" 'listens on port 8080' 'show the output'

# Again, with nothing to change.
run ctl plan -f "$work/shop.yaml"
exits 0 'a plan with nothing to change'
run ctl deploy -f "$work/shop.yaml"
exits 0 'a deploy with nothing to change'
is "$(containers shop)" "$before" 'no container was touched'

# Scale.
shop v1 3 green >"$work/shop.yaml"
run ctl deploy -f "$work/shop.yaml"
exits 0 'scale up'
is "$(lines "$(containers shop web)")" 3 'three containers of web'
is "$(printf '%s\n%s\n' "$before" "$(containers shop)" | sort | uniq -d)" "$before" 'the earlier ones stayed'
is "$(lines "$(ask web.shop.ployz.internal A)")" 3 'three addresses'
shop v1 2 green >"$work/shop.yaml"
run ctl deploy -f "$work/shop.yaml"
exits 0 'scale down'
is "$(containers shop)" "$before" 'the earlier ones are left'

# Changes of what runs.
api_before=$(containers shop api)
web_before=$(containers shop web)
shop v1 2 blue >"$work/shop.yaml"
run ctl deploy -f "$work/shop.yaml"
exits 0 'a change of the environment'
is "$(get shop.test /env/COLOUR)" blue 'is in effect'
is "$(printf '%s\n%s\n' "$web_before" "$(containers shop web)" | sort | uniq -d)" '' 'web was replaced'
is "$(containers shop api)" "$api_before" 'api was kept'
shop v2 2 blue >"$work/shop.yaml"
run ctl deploy -f "$work/shop.yaml"
exits 0 'a change of the image'
is "$(get shop.test /file/etc/version)" v2 'is in effect'
run ctl --json ns history shop
is "$(lines "$out")" 5 'five revisions in the history'

# What the manifest omits goes.
grep -v depends_on "$work/shop.yaml" | sed '/^  api:/,$d' >"$work/web-only.yaml"
run ctl plan -f "$work/web-only.yaml"
like "$out" 'api.*' 'the plan names what goes'
run ctl deploy -f "$work/web-only.yaml" --yes
exits 0 'a service is removed'
is "$(containers shop api)" '' 'its container is gone'
is "$(ask_status api.shop.ployz.internal A)" NXDOMAIN 'its name is gone'

# Everything goes.
printf 'namespace: shop\nservices: {}\n' >"$work/nothing.yaml"
run ctl deploy -f "$work/nothing.yaml"
isnt "$code" 0 'removing everything wants --yes'
is "$(lines "$(containers shop web)")" 2 'and nothing was done'
run ctl ns rm shop --yes
exits 0 'ns rm'
is "$(containers shop)" '' 'no container is left'
isnt "$(get_status shop.test /)" 200 'no traffic'
run ctl ps
unlike "$out" 'shop' 'ps shows nothing of it'

# Leaves nothing behind.
end_pid "$dev_pid" 30
ok 'dev ends' gone "$dev_pid"
is "$(engine_api GET '/networks' | grep -o "\"Name\":\"$bridge\"")" '' 'its network is gone'
done_testing
