#!/bin/sh
# Compares the manual pages with the programs, in both directions: options with their arguments and defaults, verbs, keys
# of the configuration, exit codes, environment variables, failures and the wire. Every message that a page explains is
# one of its programs. mandoc has no warning about any page.
. tests/lib/tap.sh
. tests/lib/fixture.sh

daemons='meshd leased placerd routed dnsd agentd'
tab=$(printf '\t')

# items PAGE SECTION: the lists of a page, one item a line: subsection, the items it stands in, heading, text.
items() {
	perl tests/lib/mdoc.pl "man/$1" | grep "^$2$tab" | cut -f 2-
}

# same PAGE-HAS PROGRAM-HAS NAME: shows the lines that one of them lacks.
same() {
	printf '%s\n' "$1" | sort -u >"$work/page"
	printf '%s\n' "${2:-nothing at all}" | sort -u >"$work/program"
	is "$(diff "$work/page" "$work/program" | sed -n 's/^</page:   /p; s/^>/program:/p')" '' "$3"
}

# From a --help: `--key ARGUMENT` and its default after a tab.
help_options() {
	sed -n 's/^  \(--[a-z-]*\( [^ ][^ ]*\)\{0,1\}\)  *\(.*\)$/\1'"$tab"'\3/p' | sed 's/'"$tab"'.*(default \(.*\))$/'"$tab"'\1/; t
		s/'"$tab"'.*/'"$tab"'/'
}

# From a page's list of options: `--key ARGUMENT` and its text, without a short form before it.
page_options() {
	items "$1" DESCRIPTION | awk -F "$tab" -v OFS="$tab" -v in_="$2" '$2 == in_ && $3 ~ /^--*[a-z]/ {
		sub(/^-[a-z], /, "", $3); gsub(/ \| /, "|", $3); print $3, $4}'
}

# --- the daemons and `ployzctl dev`: every option, its argument, its default

options_agree() {
	agree_page=$1 agree_help=$2
	same "$(page_options "$agree_page" '' | cut -f 1)" "$(printf '%s\n' "$agree_help" | cut -f 1)" \
		"$agree_page and --help have the same options"
	printf '%s\n' "$agree_help" | while IFS=$tab read -r option default; do
		[ -z "$default" ] || page_options "$agree_page" '' | grep -F -- "$option$tab" | grep -qF -- "$default" ||
			echo "$option: the page does not say $default"
	done >"$work/defaults"
	is "$(cat "$work/defaults")" '' "$agree_page has the defaults"
}
for program in $daemons; do
	run "$program" --help
	exits 0 "$program --help"
	options_agree "$program.8" "$(printf '%s\n' "$out" | help_options)"
done
options_agree ployzctl-dev.1 "$(ployzctl dev --help | help_options | sed "s/^--leaf-port PORT$tab.*/--leaf-port PORT$tab/")"

# --- the configuration that the daemons share: key, argument, and the daemons that read it

flags='--config\|--check\|--version\|--help\|--prepare\|--init'
for program in $daemons; do
	"$program" --help | help_options | cut -f 1 | grep -v "^\($flags\)" | sed "s/^--//; s/\$/$tab$program/"
done >"$work/keys"
readers=$(awk -F "$tab" '{who[$1] = who[$1] (n[$1]++ ? ", " : "") $2}
	END {for (k in n) print k " (" (n[k] == 6 ? "all" : who[k]) ")"}' "$work/keys")
same "$(items ployz.8 CONFIGURATION | awk -F "$tab" '$1 == "" {print $3}')" "$readers" 'ployz(8) has every key, and the daemons that read it'

# --- ployzctl's verbs: the arguments of each, its own options and no others

verbs=$(ployzctl help | sed -n 's/^  \([a-z]\{2,\}\( [a-z]\{2,\}\)\{0,1\}\) .*/\1/p')
verbs="$verbs
schema"
usages=$(printf '%s\n' "$verbs" | grep -vx help | while read -r verb; do
	# shellcheck disable=SC2086 # one word or two
	ployzctl $verb --help | sed -n '1s/^Usage: ployzctl //p'
done
ployzctl help | sed -n 's/^  \(help [^ ]*\) .*/\1/p')
same "$(items ployzctl.1 DESCRIPTION | awk -F "$tab" '$1 != "" && $2 == "" && $3 ~ /^[a-z]/ {print $3}')" "$usages" \
	'ployzctl(1) has every verb with its arguments'
global=$(ployzctl --help | help_options | cut -f 1)
same "$(page_options ployzctl.1 '' | cut -f 1)" "$global" 'ployzctl(1) has the options of all verbs'
printf '%s\n' "$usages" | while read -r usage; do
	case $usage in
	dev* | help*) continue ;;
	esac
	verb=$(echo "$usage" | sed 's/ [^a-z].*//; s/ [A-Z].*//')
	# shellcheck disable=SC2086
	own=$(ployzctl $verb --help | help_options | cut -f 1)
	listed=$(page_options ployzctl.1 "$usage" | cut -f 1)
	[ "$(printf '%s\n' "$own" | sort)" = "$(printf '%s\n' "$listed" | sort)" ] ||
		echo "$verb: the page lists: $(echo $listed); the program: $(echo $own)"
done >"$work/verbs"
is "$(cat "$work/verbs")" '' "ployzctl(1) lists every verb's own options, and no others"

# --- exit codes

codes() {
	items "$1" 'EXIT STATUS' | cut -f 3
}
help_codes=$(ployzctl --help | sed -n '/^Exit codes/,/^$/s/^  \([0-9][0-9]*\)  *\(.*\)/\1'"$tab"'\2/p')
same "$(codes ployzctl.1)" "$(printf '%s\n' "$help_codes" | cut -f 1)" 'ployzctl(1) has every exit code'
printf '%s\n' "$help_codes" | while IFS=$tab read -r number words; do
	items ployzctl.1 'EXIT STATUS' | awk -F "$tab" -v n="$number" '$3 == n {print tolower($4)}' | grep -qF "$words" ||
		echo "$number: the page does not say: $words"
done >"$work/codes"
is "$(cat "$work/codes")" '' 'with the same text'
same "$(codes ployz.8)" "$(printf '0\n1\n%s' "$(sed -n 's/^#define MEM_EXIT_CODE \([0-9]*\).*/\1/p' lib/mem.h)")" \
	'ployz(8) has those of the daemons'
for program in $daemons; do
	ok "$program(8) has a section of them" grep -q '^\.Sh EXIT STATUS' "man/$program.8"
done

# --- environment variables that a program reads

variables() {
	cat "$@" | grep -o 'getenv("[A-Z_]*")' | cut -d '"' -f 2
}
# Those that children get if the environment does not have them.
defaults() {
	cat "$@" | grep -o '_ENVIRONMENT "[A-Z_]*=' | cut -d '"' -f 2 | tr -d '='
}
page_variables() {
	items "$1" ENVIRONMENT | cut -f 3 | tr -d ',' | tr ' ' '\n'
}
# systemd's own are read by libsystemd.
same "$(page_variables ployz.8)" "$(variables lib/*.c; printf 'NOTIFY_SOCKET\nWATCHDOG_PID\nWATCHDOG_USEC')" \
	'ployz(8) has the variables that daemons read'
dev='ployzctl/dev*.c ployzctl/supervise*.c'
# shellcheck disable=SC2086 # patterns of files
same "$(page_variables ployzctl-dev.1)" "$(variables $dev; defaults $dev)" 'ployzctl-dev(1) has its own'
# shellcheck disable=SC2046,SC2086
same "$(page_variables ployzctl.1)" "$(variables $(ls ployzctl/*.c | grep -vxF "$(ls $dev)"))" 'ployzctl(1) has those of the verbs'
for program in $daemons; do
	is "$(page_variables "$program.8")" "$(variables "$program"/*.c)" "$program(8) has its own"
done

# --- failures

failures=$(sed -n 's/^\tX(FAILURE_[A-Z_]*, "\([A-Z_]*\)", \(EXIT_[A-Z_]*\)).*/\1 \2/p' lib/failure.h)
numbers=$(sed -n 's/^\tX(\(EXIT_[A-Z_]*\), \([0-9]*\),.*/\1 \2/p' lib/failure.h)
wanted=$(printf '%s\n' "$failures" | while read -r code exit; do
	echo "$code ($(printf '%s\n' "$numbers" | sed -n "s/^$exit //p"))"
done)
same "$(items ployz-wire.7 FAILURES | cut -f 3)" "$wanted" 'ployz-wire(7) has every failure and its exit code'

# --- messages: each that a page explains is in its programs' sources

# All strings of a source; adjacent ones are joined.
strings_of() {
	perl -0777 -ne 's/"\s*\n\s*"//g; s/(?:"\s+)([A-Z_]+)(?:\s+")/%s/g; print "$1\n" while /"((?:[^"\\]|\\.)*)"/g' "$@"
}
explained() {
	sed -n '/^\.Sh DIAGNOSTICS/,/^\.Sh SEE/p' "man/$1" | sed -n 's/^\.It //p'
}
for page in ployz.8:lib meshd.8:meshd leased.8:leased placerd.8:placerd routed.8:routed dnsd.8:dnsd agentd.8:agentd \
	ployzctl.1:ployzctl ployzctl-dev.1:ployzctl; do
	directories="${page#*:} lib"
	for directory in $directories; do
		strings_of "$directory"/*.c
	done >"$work/strings"
	explained "${page%:*}" | while read -r message; do
		grep -qF -e "$message" "$work/strings" || echo "no source has: $message"
	done >"$work/messages"
	is "$(cat "$work/messages")" '' "${page%:*} explains messages of its programs"
done

# The wire, as the page and as the programs have it: one line for each subject and field.
page_subjects() {
	awk '/^\.Sh /{on = /SUBJECTS/} on && /^\.It Li /{print $3}' man/ployz-wire.7
}

page_fields() {
	awk '/^\.Sh /{on = /OBJECTS/} on && /^\.Ss /{s = $2} on && /^\.It Cm /{k = $3; getline; print s, k, $0}' man/ployz-wire.7
}

schema_fields() {
	awk -F '  +' 'NF == 1 {s = $1} NF == 4 && $1 != "FIELD" {
		print s, $1, $2 ($3 == "yes" ? ", needed" : "") ($4 == "-" ? "" : "; " $4)}'
}

run ployzctl schema
exits 0 'ployzctl schema'
is "$(page_subjects | sort)" "$(printf '%s\n' "$out" | sed 1d | cut -d ' ' -f 1 | sort)" 'ployz-wire(7) has every subject'
run ployzctl schema --all
exits 0 'ployzctl schema --all'
printf '%s\n' "$out" | schema_fields >"$work/programs"
page_fields >"$work/page"
ok 'it has fields' test -s "$work/programs"
is "$(diff "$work/page" "$work/programs")" '' 'ployz-wire(7) has every field'
run ployzctl --json schema head
like "$out" '"schema":"head"' 'a schema in JSON'
run ployzctl schema hed
exits 1 'a schema that does not exist'
like "$err" "'head'" 'the nearest is named'

for page in man/*.[1-9]; do
	is "$(mandoc -Tlint -Wwarning "$page" 2>&1)" '' "$page"
done
done_testing
