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

for page in man/*.[1-9]; do
	is "$(mandoc -Tlint -Wwarning "$page" 2>&1)" '' "$page"
done
done_testing
