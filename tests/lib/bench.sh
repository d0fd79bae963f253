# What a measurement stands on: a network namespace of its own, medians, the machine's name. Sourced before
# tests/lib/fixture.sh: the whole program begins anew in its namespace.

# bench_apart PROGRAM [ARGUMENTS…]: begins again in an empty network namespace, which goes with the last
# process in it. Nothing else of this machine's links, rules and ports is seen or touched, and an engine may
# have the bridges it likes.
bench_apart() {
	[ -z "${BENCH_APART-}" ] || { ip link set lo up && return; }
	if [ "$(id -u)" -ne 0 ]; then
		echo "$1: only root can measure with a container engine" >&2
		exit 1
	fi
	BENCH_APART=yes exec unshare --net "$@"
}

# The middle one of the numbers on standard input, rounded; of an even count the lower of the two.
median() {
	sort -g | awk '{ n[NR] = $1 } END { if (NR) printf "%.0f\n", n[int((NR + 1) / 2)] }'
}

# field NAME: what follows the word NAME on a line of standard input.
field() {
	awk -v name="$1" '{ for (i = 1; i < NF; i++) if ($i == name) { print $(i + 1); exit } }'
}

bench_machine() {
	printf '%s, %s CPUs, Linux %s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
		"$(uname -r)"
}

# twin_make MANIFEST NAMESPACE: deploys it, and leaves in $work/twin.json what its container was created with,
# under labels of another name: the same container for whoever asks the engine straight.
twin_make() {
	ctl deploy -f "$1" >"$work/twin.log" 2>&1 || bench_fail "$(cat "$work/twin.log")"
	engine_api GET "/containers/$(containers "$2" | head -n 1)/json" | perl -MJSON::PP -0777 -e '
		my $seen = decode_json(<STDIN>);
		my %body = %{ $seen->{Config} };
		my $labels = delete $body{Labels};
		delete $body{Hostname};
		$body{Labels}{s/^ployz/twin/r} = $labels->{$_} for keys %$labels;
		$body{HostConfig} = $seen->{HostConfig};
		$body{NetworkingConfig}{EndpointsConfig}{$_} = {} for keys %{ $seen->{NetworkSettings}{Networks} };
		print encode_json(\%body)' >"$work/twin.json" || bench_fail 'its container cannot be read'
	ctl ns rm --yes "$2" >"$work/twin.log" 2>&1 || bench_fail "$(cat "$work/twin.log")"
}

no_containers() {
	[ -z "$(engine_containers "$@")" ]
}

twins_rm() {
	for twin in $(engine_containers twin.service=web); do
		engine_api DELETE "/containers/$twin?force=1&v=1" >/dev/null &
	done
	within 60 no_containers twin.service=web || bench_fail 'the engine does not remove its containers'
}

# A measurement that could not be made is no figure.
bench_fail() {
	echo "$*" >&2
	exit 1
}
