#!/bin/sh
# A store that comes back as another one: created again, reverted to an older copy, behind in one stream, or grown into
# something else since. Gateways and resolvers serve the last good view, also when they and the other daemons are
# restarted meanwhile; nothing of what serves is removed, whatever is asked for; `status` ends with 1 and names
# `ployzctl store accept`. Once an operator has accepted the store, a deploy works, and only its instances are left.
#
#   FAULTS=whole        every way, on one and on three replicas; otherwise one
#   ONLY='WAY …'        these, on one replica; ONLY_THREE='WAY …' on three
. tests/lib/tap.sh
. tests/lib/fixture.sh
. tests/lib/engine.sh
. tests/lib/cluster.sh
. tests/lib/crash.sh

# created: its directory is empty. stranger: another cluster's streams are in it, with as many entries. reverted: an older
# copy. unseen: an older copy, put back before meshd has noted the entries that it lacks. grown: an older copy that has other
# entries since. behind-STREAM: an older copy of that stream alone.
WAYS='created stranger reverted unseen grown behind-PLOYZ_INTENT behind-PLOYZ_FACTS behind-PLOYZ_MANIFESTS behind-PLOYZ_STATUS behind-KV_PLOYZ_LEASES'
WAYS_THREE='created reverted grown behind-PLOYZ_INTENT'
# One replica of three, after which nothing has to be accepted: its directory is empty; it has been away for some commits.
WAYS_ONE_OF_THREE='replica-empty replica-behind'

web() { # web NAME
	web_manifest kept 2 "$1"
}

deploy() { # deploy NAME
	web "$1" >"$work/next.yaml"
	run timeout 90 ployzctl --dir "$cluster_dir" deploy -f "$work/next.yaml"
}

# deployed NAME: and it is in effect.
deployed() {
	deploy "$1"
	[ "$code" -eq 0 ] || wrong "the deploy of $1 ended with $code: $out$err"
	answers kept.test / "$1" || wrong "$1 is not in effect: $(get kept.test / | head -n 1)"
}

stores() {
	case $replicas in
	1) echo store ;;
	3) echo 'store store2 store3' ;;
	esac
}

# The stores end, $1 is done with their directories, and they start again.
with_stores_away() {
	# shellcheck disable=SC2046 # a list of names
	keep_away $(stores)
	for store in $(stores); do
		"$1" "$cluster_dir/state/$store" "$work/copy-$store"
	done
	# shellcheck disable=SC2046
	let_back $(stores)
	within 30 store_has_leader
}

store_has_leader() {
	stream_info PLOYZ_INTENT | grep -Eq '"config"|"err_code":10059'
}

copy() { # copy DIRECTORY COPY
	rm -rf "$2"
	cp -a "$1" "$2"
}

put_back() {
	rm -rf "$1"
	cp -a "$2" "$1"
}

put_stream_back() {
	for account in "$1"/jetstream/*/streams; do
		[ -d "$account/$stream" ] || continue
		rm -rf "${account:?}/$stream"
		cp -a "$2${account#"$1"}/$stream" "$account/$stream"
	done
}

make_empty() {
	rm -rf "$1"
}

last_sequence() { # last_sequence STREAM
	stream_info "$1" | sed -n 's/.*"last_seq":\([0-9]*\).*/\1/p'
}

# grow_to SEQUENCE: entries of other namespaces, until PLOYZ_INTENT has that many.
grow_to() {
	grown=0
	while [ "$(last_sequence PLOYZ_INTENT)" -lt "$1" ]; do
		grown=$((grown + 1))
		as leased append "ployz.v1.intent.namespace.grown$grown" "{\"namespace\":\"grown$grown\"}" 0 >"$work/out" 2>&1 || return
	done
}

# noted STREAM KEY: meshd has noted the stream's last entry.
noted() {
	[ "$(sed -n "s/.*\"$2\":{\"sequence\":\([0-9]*\).*/\1/p" "$cluster_dir/state/meshd/store.json")" = "$(last_sequence "$1")" ]
}

all_noted() {
	noted PLOYZ_INTENT intent && noted PLOYZ_FACTS facts && noted PLOYZ_MANIFESTS manifests &&
		noted PLOYZ_STATUS status && noted KV_PLOYZ_LEASES leases
}

damage() { # damage WAY
	[ "$1" = unseen ] || within 30 all_noted || wrong "meshd has not noted the last entries: $(cat "$cluster_dir/state/meshd/store.json")"
	newest=$(last_sequence PLOYZ_INTENT)
	case $1 in
	created) with_stores_away make_empty ;;
	unseen) with_stores_away put_back ;;
	stranger)
		with_stores_away make_empty
		within 20 as meshd streams "$replicas" stranger 1
		grow_to "$newest"
		;;
	reverted) with_stores_away put_back ;;
	grown)
		# meshd must not see it before it has grown.
		keep_away meshd
		with_stores_away put_back
		grow_to $((newest + 1))
		let_back meshd
		;;
	behind-*)
		stream=${1#behind-}
		with_stores_away put_stream_back
		;;
	esac
}

status_names_accept() {
	! ctl status >"$work/status" 2>&1 && grep -q 'ployzctl store accept' "$work/status"
}

# --- what is claimed

untouched() { # untouched WHEN
	# shellcheck disable=SC2086 # a list of containers
	[ "$(life $serving)" = "$lived" ] || wrong "$1: what serves was touched: $(life $serving)"
	answers kept.test / three || wrong "$1: it does not serve: $(get kept.test / | head -n 1)"
	within 5 both_have_names kept || wrong "$1: names are not answered"
}

restart() { # restart DAEMON…
	for restarting; do
		old_pid=$(pid_of "$restarting")
		kill -KILL "$old_pid"
		within 20 restarted "$restarting" "$old_pid" || wrong "$restarting is not restarted"
	done
}

all_answer() {
	for answering in meshd leased placerd routed dnsd agentd; do
		as operator request "ployz.v1.$machine.$answering.status" '{}' 2>/dev/null | grep -q '"ok"' || return 1
	done
}

begin() { # begin WAY
	cluster_dir=$work/dev-$replicas-$1
	case $replicas in
	1) cluster_start ;;
	3) cluster_start_three ;;
	esac
	machine=$(cat "$cluster_dir/etc/credentials/machine")
	deployed one
	with_stores_away copy
	within 30 ctl status || wrong "the copy: $(ctl status 2>&1)"
	deployed two
	deployed three
	serving=$(containers kept)
	# shellcheck disable=SC2086 # a list of containers
	lived=$(life $serving)
	case_result "$kind$1: three revisions" "$work/dev.log"
	load_start kept.test /
}

finish() {
	end_pid "$dev_pid" 30
	for store in 2 3; do
		[ "$replicas" = 1 ] || end_pid "$(eval "echo \$store_run_$store")"
	done
}

# store_case WAY
store_case() {
	begin "$1"
	damage "$1"
	untouched 'the store is back'
	within 45 status_names_accept || wrong "status: $(cat "$work/status")"
	untouched 'status has reported it'
	case_result "$kind$1: the last good view is served, and status names the next step" "$work/status" "$work/dev.log"

	restart routed dnsd agentd leased placerd meshd
	within 30 all_answer || wrong 'not every daemon answers again'
	untouched 'the daemons are restarted'
	within 45 status_names_accept || wrong "status: $(cat "$work/status")"
	case_result "$kind$1: daemons that are restarted serve it too" "$work/status" "$work/dev.log"

	deploy four
	[ "$code" -ne 0 ] || wrong "the deploy ended with 0: $out$err"
	run timeout 60 ployzctl --dir "$cluster_dir" deploy sweep kept
	untouched 'a deploy and a sweep were asked for'
	case_result "$kind$1: a deploy and a sweep before it is accepted change nothing" "$work/run.out" "$work/run.err" "$work/dev.log"
	load_end
	load_was_clean "$kind$1: traffic continued"

	run ctl store accept --yes --why 'a test'
	if [ "$1:$code" = unseen:6 ]; then
		printf '%s\n' "$err" | grep -q 'store accept --force' || wrong "store accept names no next step: $err"
		run ctl store accept --force --yes --why 'a test'
	fi
	[ "$code" -eq 0 ] || wrong "store accept ended with $code: $out$err"
	web five >"$work/next.yaml"
	within 30 ctl deploy -f "$work/next.yaml" || wrong "no deploy succeeds: $(ctl deploy -f "$work/next.yaml" 2>&1)"
	within 10 answers kept.test / five || wrong "five is not in effect: $(get kept.test / | head -n 1)"
	[ "$(lines "$(containers kept)")" -eq 2 ] || wrong "containers: $(life $(containers kept))"
	within 45 ctl status || wrong "status: $(ctl status 2>&1)"
	ctl deploy -f "$work/next.yaml" >"$work/out" 2>&1 || wrong "the same again: $(cat "$work/out")"
	grep -q 'nothing to change' "$work/out" || wrong "the same again: $(cat "$work/out")"
	restart routed dnsd agentd leased placerd meshd
	within 30 ctl status || wrong "status, after a restart of all: $(ctl status 2>&1)"
	answers kept.test / five || wrong 'five is not in effect any more'
	case_result "$kind$1: once it is accepted, a deploy works, and nothing else is left" "$work/out" "$work/dev.log"
	finish
}

# replica_case WAY: the other two have everything.
replica_case() {
	begin "$1"
	follower=$(leader_of PLOYZ_INTENT | sed 's/^store$/store2/; t; s/^store2$/store3/; t; s/.*/store/')
	keep_away "$follower"
	case $1 in
	replica-empty) make_empty "$cluster_dir/state/$follower" ;;
	replica-behind)
		deploy three
		load_end
		deployed six
		serving=$(containers kept)
		;;
	esac
	let_back "$follower"
	restart routed dnsd
	# Whatever they read while it catches up, an older state is not served.
	within 20 all_answer || wrong 'not every daemon answers again'
	name=$(get kept.test / | head -n 1)
	case $1:$name in
	*-empty:three | *-behind:six) ;;
	*) wrong "$name is served" ;;
	esac
	within 60 replicas_current || wrong "the replica does not follow: $(stream_info PLOYZ_INTENT)"
	within 60 ctl status || wrong "status: $(ctl status 2>&1)"
	[ "$(containers kept)" = "$serving" ] || wrong "containers: $(life $(containers kept))"
	case_result "$kind$1: it follows by itself, and nothing older is served" "$work/dev.log"
	[ "$1" != replica-empty ] || { load_end && load_was_clean "$kind$1: traffic continued"; }
	deployed seven
	[ "$(lines "$(containers kept)")" -eq 2 ] || wrong "containers: $(life $(containers kept))"
	case_result "$kind$1: the next deploy" "$work/dev.log"
	finish
}

engine_start || skip_all "$engine_reason"
image=plt-$$
engine_image "$image:v1" || bail 'the engine takes no image'
at_end "engine_image_rm $image:v1"
gates_make
ways=reverted ways_three='' ways_one_of_three=''
if [ -n "${ONLY-}${ONLY_THREE-}" ]; then
	ways=${ONLY-} ways_three=${ONLY_THREE-}
elif [ "${FAULTS-}" = whole ]; then
	ways=$WAYS ways_three=$WAYS_THREE ways_one_of_three=$WAYS_ONE_OF_THREE
fi
replicas=1 kind=''
for way in $ways; do
	store_case "$way"
done
replicas=3 kind='three replicas, '
for way in $ways_three $ways_one_of_three; do
	case $way in
	replica-*) replica_case "$way" ;;
	*) store_case "$way" ;;
	esac
done
done_testing
