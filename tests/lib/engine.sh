# A container engine for tests and for the demo, and images for it that need no registry. Sourced after
# tests/lib/fixture.sh.
#
# engine_start takes the one that answers at $DOCKER_HOST, or at /var/run/docker.sock, and starts a private
# one where none does: it makes no bridge of its own, touches no firewall, and goes with the test.

engine_reason='' # why there is none, in one sentence
engine_own=''    # directory of the private one

engine_answers() {
	[ -S "${1#unix://}" ] && curl -sf --max-time 5 --unix-socket "${1#unix://}" http://engine/_ping
}

# engine_api METHOD PATH [CURL ARGUMENTS…]: the answer on stdout; fails on an HTTP error.
engine_api() {
	api_method=$1 api_path=$2
	shift 2
	curl -sS --fail-with-body --max-time 60 --unix-socket "${DOCKER_HOST#unix://}" -X "$api_method" "$@" \
		"http://engine$api_path"
}

# In a bare tree no cgroups are mounted, and where the tree was entered by chroot, what is executed in a
# container later would find itself outside of it, at the root of the mount namespace: dockerd gets a mount
# namespace of its own that has cgroups, and the tree as its root.
engine_in_place() {
	inside=$(stat -c %d:%i /)
	outside=$(nsenter --mount=/proc/self/ns/mnt stat -c %d:%i / 2>/dev/null || echo "$inside")
	if [ "$inside" = "$outside" ] && grep -q ' /sys/fs/cgroup[ /]' /proc/mounts; then
		exec "$@"
	fi
	exec unshare --mount --propagation unchanged sh -c '
		nsenter --mount=/proc/self/ns/mnt mount --make-rprivate / || exit
		grep -q " /sys/fs/cgroup[ /]" /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup || exit
		[ "$1" != "$2" ] || { shift 3; exec "$@"; }
		shift 2
		mount --rbind / /mnt && exec chroot /mnt sh -c "
			nsenter --mount=/proc/self/ns/mnt --wd=/ pivot_root . mnt && umount -l /mnt
			cd \"\$1\" && shift && exec \"\$@\"" sh "$@"' sh "$inside" "$outside" "$PWD" "$@"
}

# engine_let BRIDGE: the private engine writes no firewall rules. Where an earlier Docker (or its owner) left some
# that look at bridges too, containers on one bridge could not reach each other: one rule, for the test's time.
# Where nothing is refused none is made: with the first rule comes a table, which would stay.
engine_let() {
	[ -n "${ENGINE_PRIVATE-}" ] || return 0
	[ "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables 2>/dev/null)" = 1 ] || return 0
	[ "$(iptables -w -S FORWARD 2>/dev/null)" != '-P FORWARD ACCEPT' ] || return 0
	signals_hold
	if iptables -w -I FORWARD -i "$1" -o "$1" -j ACCEPT 2>/dev/null; then
		at_end "iptables -w -D FORWARD -i $1 -o $1 -j ACCEPT"
	fi
	signals_take
}

# What dockerd, containerd and umount make outside of their own directories, and leave there empty.
engine_litter() {
	printf '%s\n' /run/mount /run/containerd/s /run/containerd /run/docker/plugins /run/docker
	sed -n 's,^[^ ]* \([^ ]*\) cgroup2\{0\,1\} .*,\1/docker,p' /proc/mounts
}

# engine_end DIRECTORY PID: of the process that was started, while dockerd has not written its own down. A process
# that has its id since is somebody else's.
engine_end() {
	[ -d "$1" ] || return 0
	engine_left=$(cat "$1/pid" 2>/dev/null)
	if [ -z "$engine_left" ]; then
		engine_left=$2
	elif ! grep -qaF "$1/" "/proc/$engine_left/cmdline" 2>/dev/null; then
		engine_left=
	fi
	[ -z "$engine_left" ] || end_pid "$engine_left" 30
	engine_clear "$1"
}

# Where containerd's shims listen: one that was killed leaves its socket.
engine_sockets() {
	find /run/containerd/s -type s 2>/dev/null
}

# What a private engine leaves. Of what is not its own only what is empty, or has nobody listening, goes, and was not
# there before.
engine_clear() {
	for litter in $(engine_sockets | grep -vxFf "$1/sockets"); do
		grep -q " $litter\$" /proc/net/unix || rm -f "$litter"
	done
	grep " $1/" /proc/mounts | cut -d ' ' -f 2 | sort -r | while read -r mounted; do
		umount -l "$mounted"
	done
	while read -r litter; do
		rmdir "$litter" 2>/dev/null
	done <"$1/litter"
	rm -rf "$1"
}

# engine_run_own ENDING COMMAND…: a private one; sets $engine_own and $engine_pid, with which ENDING is called at
# the end. COMMAND takes dockerd's options.
engine_run_own() {
	if ! command -v dockerd >/dev/null; then
		engine_reason='no container engine answers, and there is no dockerd to start'
		return 1
	fi
	if [ "$(id -u)" -ne 0 ]; then
		engine_reason='no container engine answers, and only root can start one'
		return 1
	fi
	engine_ending=$1
	shift
	signals_hold
	# On the disk: /tmp may be memory.
	engine_own=$(trap '' INT TERM HUP; mktemp -d "${ENGINE_TMPDIR:-/var/tmp}/plt-engine.XXXXXX") || return 1
	for litter in $(engine_litter); do
		[ -e "$litter" ] || echo "$litter"
	done >"$engine_own/litter"
	engine_sockets >"$engine_own/sockets"
	[ "$1" = dockerd ] || set -- "$@" "$engine_own"
	# A containerd that hangs is killed, after having dumped its stacks into $TMPDIR.
	(export TMPDIR="$engine_own" && engine_in_place setsid "$@" --data-root "$engine_own/data" \
		--exec-root "$engine_own/exec" --pidfile "$engine_own/pid" -H "unix://$engine_own/docker.sock" \
		--bridge=none --iptables=false --ip6tables=false --ip-forward=false) \
		>"$engine_own/log" 2>&1 </dev/null &
	engine_pid=$!
	at_end "$engine_ending $engine_own $engine_pid"
	signals_take
	DOCKER_HOST=unix://$engine_own/docker.sock
	ENGINE_PRIVATE=yes # also for the tests that a run starts
	export DOCKER_HOST ENGINE_PRIVATE
	within 60 engine_up_or_dead || true
	if ! engine_answers "$DOCKER_HOST" >/dev/null; then
		engine_reason="dockerd did not start: $(grep -Eio '(failed|error)[^"]*' "$engine_own/log" | tail -n 1)"
		return 1
	fi
}

engine_start_own() {
	engine_run_own engine_end dockerd
}

# Containers outlive its dockerd: they go before it does.
engine_end_kept() {
	within 30 engine_answers "$DOCKER_HOST"
	engine_api GET '/containers/json?all=1' | tr '{' '\n' | sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p' |
		while read -r left; do
			engine_api DELETE "/containers/$left?force=1"
		done
	end_pid "$2" 30
	# shellcheck disable=SC2046 # a list of pids
	engine_forget $(engine_shims "$1" | cut -d ' ' -f 1)
	engine_clear "$1"
}

# engine_shims DIR: `PID CONTAINER` of each container that runs below a private engine, whether it knows it or not.
engine_shims() {
	for shim in /proc/[0-9]*; do
		# A command line has no end of its own: sed would put the next one behind it.
		{ tr '\0' ' ' <"$shim/cmdline" && echo; } 2>/dev/null |
			sed -n "s|.*containerd-shim.* -id \([0-9a-f]*\) .*-address $1/.*|${shim#/proc/} \1|p"
	done 2>/dev/null
}

# engine_forgotten: those that it does not know to run. A dockerd 20.10 that dies while it starts a container leaves it
# so, and no request to it or to containerd ends that one. engine_forget PID…: what runs below these, and they, end.
engine_forgotten() {
	engine_api GET /containers/json | tr '{' '\n' | sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p' >"$work/engine-knows"
	engine_shims "$engine_own" | grep -Fv -f "$work/engine-knows"
}

engine_forget() {
	for forgotten; do
		# shellcheck disable=SC2046 # a list of pids
		kill -KILL $(cat "/proc/$forgotten/task/$forgotten/children") "$forgotten"
		within 5 gone "$forgotten"
	done
}

# engine_start_kept: a private one whose dockerd may be killed: it is started again at once, and containers go on.
# dockerd's pid is in $engine_own/pid.
engine_start_kept() {
	engine_run_own engine_end_kept tests/lib/engine-kept
}

engine_up_or_dead() {
	engine_answers "$DOCKER_HOST" || gone "$engine_pid"
}

engine_start() {
	for place in "${DOCKER_HOST-}" unix:///var/run/docker.sock; do
		if [ -n "$place" ] && engine_answers "$place" >/dev/null; then
			DOCKER_HOST=$place
			export DOCKER_HOST
			return 0
		fi
	done
	engine_start_own
}

# engine_image NAME:TAG [TEXT]: an image of busybox and testsvc; TEXT (or the tag) is its /etc/version.
engine_image() {
	image_root=$work/image
	rm -rf "$image_root"
	mkdir -p "$image_root/bin" "$image_root/etc" "$image_root/tmp" "$image_root/www"
	cp "$(command -v busybox)" "$image_root/bin/busybox"
	for applet in cat echo env false hostname httpd id ip kill ls nc nslookup ps sh sleep true wget; do
		ln -s busybox "$image_root/bin/$applet"
	done
	if [ -x "$BUILD/tool/testsvc" ]; then
		cp "$BUILD/tool/testsvc" "$image_root/bin/testsvc"
	fi
	printf '%s\n' "${2:-${1##*:}}" >"$image_root/etc/version"
	printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$image_root/etc/passwd"
	tar -C "$image_root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$work/image.tar" .
	rm -rf "$image_root"
	image_said=$(engine_api POST "/images/create?fromSrc=-&repo=${1%:*}&tag=${1##*:}&changes=CMD%20%5B%22/bin/testsvc%22%5D" \
		-H 'Content-Type: application/x-tar' --data-binary "@$work/image.tar")
	image_code=$?
	rm -f "$work/image.tar"
	# Podman takes the image and leaves it without a name.
	if [ "$image_code" -eq 0 ] && ! engine_api GET "/images/$1/json" >/dev/null 2>&1; then
		image_id=$(printf '%s' "$image_said" | grep -o 'sha256:[0-9a-f]*' | head -n 1)
		engine_api POST "/images/${image_id#sha256:}/tag?repo=${1%:*}&tag=${1##*:}" >/dev/null
		image_code=$?
	fi
	return $image_code
}

# Takes an image away again, when it is the test's own.
engine_image_rm() {
	engine_api DELETE "/images/$1?force=1" >/dev/null 2>&1
}

# engine_containers LABEL=VALUE…: ids of the containers, running or not, that have these labels; sorted.
engine_containers() {
	labels=
	for label; do
		labels="$labels${labels:+,}\"$label\""
	done
	engine_api GET '/containers/json' -G --data-urlencode 'all=1' \
		--data-urlencode "filters={\"label\":[$labels]}" | tr '{' '\n' | sed -n 's/.*"Id":"\([0-9a-f]*\)".*/\1/p' | sort
}

# subnet_number: N of a 10.101.N.0/24 that no link of this machine has, beginning at this test's own process.
subnet_number() {
	number=$(($$ % 200 + 20))
	while ip -4 addr | grep -q "inet 10\.101\.$number\."; do
		number=$(((number - 19) % 200 + 20))
	done
	echo "$number"
}

# engine_start_fake: an engine without containers (tests/tool/engine.c), for counts that a real one has no room for.
engine_start_fake() {
	start "$work/engine.log" engine "$work/engine.sock"
	engine_pid=$started
	DOCKER_HOST=unix://$work/engine.sock
	export DOCKER_HOST
	within 10 engine_answers "$DOCKER_HOST"
}
