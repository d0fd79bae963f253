#!/bin/sh
# The units say the same of every daemon: what it needs, how it is told, how it is watched, what it may not do.
. "$(dirname "$0")/lib/tap.sh"
. "$(dirname "$0")/lib/fixture.sh"

programs="meshd leased placerd routed dnsd agentd"

# has UNIT LINE: an extended regular expression, the whole line.
has() {
	grep -Exq "$2" "$1"
}

for name in $programs; do
	unit=$name/ployz-$name.service
	missing=
	for line in "Documentation=man:$name\\(8\\)" 'Requires=ployz-prepare\.service' 'Wants=.*ployz-nats\.service.*' \
		'After=ployz-prepare\.service ployz-nats\.service.*' 'PartOf=ployz\.target' 'Type=notify' 'WatchdogSec=30' \
		"LoadCredential=$name\\.conf:/etc/ployz/credentials/$name\\.conf" \
		'LoadCredential=machine:/etc/ployz/credentials/machine' \
		"ExecStart=/usr/lib/ployz/$name --credentials=\\\$\\{CREDENTIALS_DIRECTORY\\}" 'Restart=always' \
		"User=(ployz-$name|root)" "StateDirectory=ployz/$name" 'CapabilityBoundingSet=.*' 'NoNewPrivileges=yes' \
		'MemoryDenyWriteExecute=yes' 'ProtectSystem=strict' 'PrivateTmp=yes' 'SystemCallFilter=@system-service' \
		'WantedBy=ployz\.target'; do
		has "$unit" "$line" || missing="$missing
$line"
	done
	is "$missing" '' "$unit"
	ok "$unit: its user comes with it" has "$unit" '(DynamicUser=yes|User=root)'
	like "$(cat meshd/ployz.target)" "ployz-$name\\.service" "$unit: the target starts it"
done
is "$(sed -n 's/^Documentation=//p' ./*/ployz*.service | tr ' ' '\n' | sed -n 's/^man:\([a-z]*\)(8)$/\1/p' | sort -u |
	while read -r page; do [ -e "man/$page.8" ] || echo "$page"; done)" '' 'their pages are there'
done_testing
