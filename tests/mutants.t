#!/bin/sh
# tests/mutants: what it changes in a C file, and what it leaves alone. `make check-mutants` uses it.
. tests/lib/tap.sh
. tests/lib/fixture.sh

cat >"$work/sample.c" <<'END'
/* if (comment == 1) call(); */
#define LIMIT 7 /* a directive */
static const char *const text = "a < b"; DEFINE_CLEANUP(struct x, x_free);
static int f(const struct x *x)
{
	if (x->a <= 5 && !x->b)
		call(x, "!");
	free(x->c);
	switch (x->d) {
	case A:
	case B:
		return 1;
	case C:
		break;
	}
	do {
		x->e <<= x->f > 10000;
	} while (0);
	multi(x,
	      x->g);
	return x->h;
}
END

# A mutant a line: where, kind, and the changed line.
mutants() {
	tests/mutants -l -n 1000 "$@" "$work/sample.c" | sed "s,^$work/,," |
		awk '/^sample/ {place = $0} /^\t\+/ && !seen[place]++ {sub(/^\t\+\t*/, ""); print place " " $0}
			/^sample/ {delete seen}' | sort -t : -k 2n -k 3
}

is "$(mutants)" "$(sort -t : -k 2n -k 3 <<'END'
sample.c:6: comparison flipped if (x->a > 5 && !x->b)
sample.c:6: comparison flipped if (x->a < 5 && !x->b)
sample.c:6: constant off by one if (x->a <= 6 && !x->b)
sample.c:6: constant off by one if (x->a <= 4 && !x->b)
sample.c:6: negation dropped if (x->a <= 5 && x->b)
sample.c:6: negation added if (!(x->a <= 5 && !x->b))
sample.c:6: condition forced if ((x->a <= 5 && !x->b) || 1)
sample.c:6: condition forced if ((x->a <= 5 && !x->b) && 0)
sample.c:7: call deleted ;
sample.c:10: case skipped 
sample.c:11: case skipped case B: break;
sample.c:12: constant off by one return 2;
sample.c:12: constant off by one return 0;
sample.c:17: comparison flipped x->e <<= x->f <= 10000;
sample.c:17: comparison flipped x->e <<= x->f >= 10000;
sample.c:19: call deleted 
END
)" 'every change, and no other'
is "$(tests/mutants -l -n 5 -s 3 "$work/sample.c")" "$(tests/mutants -l -n 5 -s 3 "$work/sample.c")" \
	'one seed gives the same mutants'
isnt "$(tests/mutants -l -n 5 -s 3 "$work/sample.c")" "$(tests/mutants -l -n 5 -s 4 "$work/sample.c")" 'another gives others'
is "$(tests/mutants -l -n 5 "$work/sample.c" | grep -c '^[^	]')" 5 'as many as were asked for'
run tests/mutants -l "$work/none.c"
exits 2 'a file that is not there'
like "$err" "cannot read $work/none.c" 'is named'
done_testing
