#!/bin/sh
# Every fuzz target with the inputs that the tree has, and some seconds of new ones: tests/fuzz/run.
. tests/lib/tap.sh
. tests/lib/fixture.sh

start "$work/said" tests/fuzz/run short
runner=$started
within 240 gone "$runner"
ok 'the targets come to their end' gone "$runner"
for source in tests/fuzz/*.c; do
	target=$(basename "$source" .c)
	inputs=$(find "tests/fuzz/corpus/$target" -type f | wc -l)
	executions=$(sed -n "s/^$target \([0-9]*\)$/\1/p" "$work/said")
	if [ "${executions:-0}" -gt "$inputs" ] && [ "$inputs" -gt 0 ]; then
		pass "$target: $inputs inputs of the tree, $executions executions"
	else
		fail "$target" "$(grep "^$target " "$work/said")
$(tail -n 25 "$BUILD/fuzz/log/$target" 2>&1)"
	fi
done
done_testing
