#!/bin/sh
# The manual pages against what the programs say of themselves: every option and verb of --help stands in
# the page, and every option that the page lists is one; no page has anything that mandoc would mend.
. tests/lib/tap.sh
. tests/lib/fixture.sh

page_text() {
	mandoc -Tascii "$1" | sed "s/.$(printf '\b')//g"
}

long_options() {
	grep -oE '(^|[^-[:alnum:]])--[a-z][a-z-]*' | grep -oE -e '--[a-z-]*' | sort -u
}

# Options that the page lists: .It Fl -name
listed_options() {
	sed -n 's/^\.It Fl \\\{0,1\}-\([a-z][a-z-]*\).*/--\1/p' "$1" | sort -u
}

missing_in() {
	printf '%s\n' "$1" | grep -Fvx -e "$2" | tr '\n' ' '
}

for program in meshd leased placerd routed dnsd agentd ployzctl; do
	page=
	for section in 1 8; do
		[ -e "man/$program.$section" ] && page=man/$program.$section
	done
	if [ -z "$page" ]; then
		fail "$program has a page"
		continue
	fi
	run "$program" --help
	exits 0 "$program --help"
	help=$(printf '%s\n' "$out" | long_options)
	is "$(missing_in "$help" "$(page_text "$page" | long_options)")" '' "$page has every option of --help"
	if [ "$program" != ployzctl ]; then
		is "$(missing_in "$(listed_options "$page")" "$help")" '' "--help has every option of $page"
	fi
done

# Verbs: the lines of `ployzctl --help` that begin with two blanks and a word.
verbs=$(ployzctl --help 2>/dev/null | sed -n 's/^  \([a-z][a-z]*\( [a-z][a-z]*\)\{0,1\}\).*/\1/p' | cut -d ' ' -f 1 | sort -u)
isnt "$verbs" '' 'ployzctl --help lists verbs'
text=$(page_text man/ployzctl.1 2>/dev/null)
for verb in $verbs; do
	like "$text" "(^|[^[:alnum:]-])$verb([^[:alnum:]-]|\$)" "ployzctl(1) has $verb"
done

# The wire, as the page has it and as the programs have it: one line a subject and one a field.
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
is "$(diff "$work/page" "$work/programs")" '' 'ployz-wire(7) has every field, as it is'
run ployzctl --json schema head
like "$out" '"schema":"head"' 'a schema in JSON'
run ployzctl schema hed
exits 1 'a schema that is not there'
like "$err" "'head'" 'the nearest is named'

for page in man/*.[1-9]; do
	is "$(mandoc -Tlint -Wwarning "$page" 2>&1)" '' "$page"
done
done_testing
