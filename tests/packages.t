#!/bin/sh
# tests/setup/packages and ^C: what only fetches ends at once, what installs comes to its end; no policy-rc.d stays.
# apt-get is a fake: a real one would have to install something here.
. tests/lib/tap.sh
. tests/lib/fixture.sh

policy=$work/root/usr/sbin/policy-rc.d
mkdir -p "$work/bin" "$work/root/usr/sbin" "$work/root/etc/apt/sources.list.d" "$work/root/etc/apt/preferences.d"
SETUP_ROOT=$work/root
PATH=$work/bin:$PATH
export SETUP_ROOT work

# Fetching and installing take until they are told to end; an install that is told half way is in pieces.
cat >"$work/bin/apt-get" <<'END'
#!/bin/sh
phase=install
for word; do
	case $word in
	update) exit 0 ;;
	--download-only) phase=fetch ;;
	indextargets) exit 0 ;;
	esac
done
trap 'echo "$phase told" >>"$work/apt"; exit 1' TERM INT
echo "$phase" >>"$work/apt"
[ -e "$SETUP_ROOT/usr/sbin/policy-rc.d" ] && echo "$phase held" >>"$work/apt"
until [ -e "$work/$phase.may" ]; do sleep 0.05; done
echo "$phase whole" >>"$work/apt"
[ "$phase" = fetch ] || touch "$work/installed"
END
# Everything is there but pkg-config, until it is installed.
cat >"$work/bin/dpkg-query" <<'END'
#!/bin/sh
for package in $(sed -n "/^BUILD='/,/'\$/p" tests/setup/packages | sed "s/BUILD=//" | tr -d "'"); do
	[ "$package" = pkg-config ] || printf '%s:installed ' "$package"
done
[ ! -e "$work/installed" ] || printf 'pkg-config:installed '
END
chmod +x "$work/bin/apt-get" "$work/bin/dpkg-query"

has() {
	grep -qx "$1" "$work/apt"
}
ended() {
	within 20 gone "$started"
	wait "$started"
	code=$?
}
begin() {
	rm -f "$work"/*.may "$work/apt" "$work/installed"
	start "$work/said" terminal tests/setup/packages -l "$work/log" build
}

begin
touch "$work/fetch.may" "$work/install.may"
ended
is "$code" 0 'uninterrupted: done'
ok 'the install is held from starting services' has 'install held'
ok 'no policy-rc.d stays' test ! -e "$policy"
run tests/setup/packages -l "$work/log" build
exits 0 'again'
is "$out$err" '' 'says nothing: all are there'

begin
within 10 has fetch
kill -USR1 "$started"
ended
is "$code" 130 'interrupted while it fetches: ends'
ok 'apt-get is told' has 'fetch told'
ok 'nothing was installed' test ! -e "$work/installed"
ok 'no policy-rc.d stays' test ! -e "$policy"

begin
touch "$work/fetch.may"
within 10 has install
kill -USR1 "$started"
ok 'interrupted while it installs: says so' within 10 grep -q 'interrupted: ending' "$work/said"
kill -USR1 "$started"
ok 'and waits' alive "$started"
touch "$work/install.may"
ended
is "$code" 130 'ends afterwards'
ok 'the install is whole' has 'install whole'
ok 'apt-get heard nothing of it' sh -c '! grep -q "install told" "$work/apt"'
ok 'no policy-rc.d stays' test ! -e "$policy"

# What somebody else has said of services stays; what a killed setup has left does not.
printf '#!/bin/sh\nexit 101\n' >"$policy"
begin
touch "$work/fetch.may" "$work/install.may"
ended
ok "somebody else's policy-rc.d stays" test -e "$policy"
printf '#!/bin/sh\n# For the time of an install by tests/setup/packages, process 4194303\nexit 101\n' >"$policy"
begin
touch "$work/fetch.may" "$work/install.may"
ended
ok 'one of a setup that was killed does not' test ! -e "$policy"
done_testing
