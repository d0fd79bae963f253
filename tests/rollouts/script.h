/* A rollout that follows a script: each line is a command that the rollout is expected to have
 * sent, or an event that it gets. Tests of the phases are tables of such scripts.
 *
 *   enter PHASE            the rollout is put before this phase
 *   > COMMAND              the next command sent is this one (a prefix of its line is enough)
 *   >                      no further command was sent
 *   < MACHINE VERB JSON    the request is answered; `! MACHINE VERB CODE` it fails with this code
 *   read JSON…             the read that is on its way gives this entry (`read` alone: none); the
 *                          subject is that of the read, the sequence comes first: `read 7 {…}`
 *   read! CODE             it fails
 *   write OUTCOME [N]      the append that is on its way: done, superseded, conflict, refused or
 *                          unknown, at sequence N
 *   lease STATE [EPOCH]    held, lost, refused, released; `renewed` moves its deadline
 *   members M…             the machine view from now on; `members -` is not live
 *   progress INSTANCE STATE   progress of an agent
 *   cancel                 by an operator
 *   tick SECONDS           time passes, one poll each second
 *   = PHASE                the current phase
 *   fails CODE TEXT        the failure has this code, and its message contains the text
 *   notes TEXT             a progress note since the last `notes` contains the text
 *   state FIELD VALUE      committed, unknown, lost, opened, left, unserved of the rollout; record
 *                          phase */
#ifndef PLOYZ_TESTS_ROLLOUTS_SCRIPT_H
#define PLOYZ_TESTS_ROLLOUTS_SCRIPT_H

#include "leased/rollout.h"

struct script_options {
	const char *manifest; /* JSON; NULL: a sweep */
	const char *verb;     /* NULL: deploy */
	const char *head;     /* JSON of the head at sequence 4; NULL: none */
	const char *plan;     /* JSON, taken before the phase; NULL: none */
	int64_t plan_seq;     /* 0: any */
	bool yes;
};

/* Runs the script (lines separated by newlines). NULL if every line matched; otherwise the first
 * that did not, with the actual value, owned by the caller. */
char *script_run(const struct script_options *options, const char *script);

#endif
