/* forward and address: which bytes are the answer, which upstream is next, addresses in text. */
#include "dnsd/dnsd.h"
#include "tests/tap.h"

static const uint8_t question[] = "\x12\x34\x01\x00\0\1\0\0\0\0\0\0\7example\3org\0\0\x41\0\1";
#define QUESTION_SIZE (sizeof(question) - 1)

static struct forward *with_upstreams(size_t count)
{
	struct address *addresses = NULL;
	size_t n = 0;

	while (n < count)
		address_parse("192.0.2.1", 53, array_add(addresses, n));
	return forward_new(addresses, n);
}

static void test_judge(void)
{
	struct forward *forward = with_upstreams(2);
	struct client client = { .listener = 1 };
	struct forward_query *query =
		forward_add(forward, &client, question, QUESTION_SIZE, 512, 0xabcd);
	const struct {
		const char *name;
		size_t at;
		uint8_t value;
		int verdict;
	} rows[] = {
		{ "the answer", 0, 0xab, FORWARD_ANSWER },
		{ "the client's id is none of ours", 0, 0x12, FORWARD_IGNORE },
		{ "a question is no answer", 2, 0x01, FORWARD_IGNORE },
		{ "another name", 13, 'f', FORWARD_IGNORE },
		{ "the name in another case", 13, 'E', FORWARD_ANSWER },
		{ "another type, also one that differs as cases do", QUESTION_SIZE - 3, 0x61,
		  FORWARD_IGNORE },
		{ "another class", QUESTION_SIZE - 1, 3, FORWARD_IGNORE },
		{ "no question", 5, 0, FORWARD_IGNORE },
		{ "truncated", 2, 0x83, FORWARD_USE_TCP },
		{ "SERVFAIL: the other one may know", 3, 0x82, FORWARD_NEXT },
		{ "NXDOMAIN is an answer", 3, 0x83, FORWARD_ANSWER },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint8_t answer[QUESTION_SIZE];

		memcpy(answer, question, QUESTION_SIZE);
		memcpy(answer, "\xab\xcd\x81\x80", 4);
		answer[rows[i].at] = rows[i].value;
		is_int(forward_judge(forward, query, answer, sizeof(answer)), rows[i].verdict,
		       rows[i].name);
		is_int(forward_judge(forward, query, answer, 11), FORWARD_IGNORE, "cut short");
	}
	ok(forward_next(forward, query) && query->at == 1, "the next one");
	ok(forward_next(forward, query) && query->at == 0, "around");
	ok(!forward_next(forward, query), "three tries");
	ok(!forward_add(forward, &client, question, 20, 512, 1), "a question that is cut is none");
	for (int i = 0; i < FORWARD_MAX; i++)
		forward_add(forward, &client, question, QUESTION_SIZE, 512, 7);
	ok(forward_surplus(forward) == query, "the oldest makes room");
	forward_remove(forward, query);
	query = TAILQ_FIRST(&forward->queries);
	query->deadline = 50;
	TAILQ_NEXT(query, by_age)->deadline = 40;
	is_int((long long)forward_deadline(forward), 40, "the earliest deadline");
	forward_free(forward);
}

static void test_addresses(void)
{
	static const struct {
		const char *text, *expected;
	} rows[] = {
		{ "192.0.2.1", "192.0.2.1:53" },
		{ "192.0.2.1:5300", "192.0.2.1:5300" },
		{ "::1", "[::1]:53" },
		{ "[fd00::1]:5300", "[fd00::1]:5300" },
		{ "[::1]", "[::1]:53" },
		{ "192.0.2.1:", NULL },
		{ "192.0.2.1:70000", NULL },
		{ "localhost", NULL },
		{ "[::1", NULL },
		{ "[::1]x", NULL },
		{ "", NULL },
		{ "1.2.3", NULL },
	};
	struct address parsed, *addresses;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = address_parse(rows[i].text, 53, &parsed) == 0
						    ? address_format(&parsed)
						    : NULL;

		is(text, rows[i].expected, rows[i].text);
	}
	is_int((long long)addresses_of_resolv_conf(
		       "# nameserver 9.9.9.9\nsearch a b\nnameserver 192.0.2.1\n"
		       "nameserver\t::1 \nnameserver x\nnameserver",
		       &addresses),
	       2, "resolv.conf");
	free(addresses);
	address_parse("127.9.9.9", 1, &parsed);
	ok(address_is_loopback(&parsed) && !address_is_wildcard(&parsed), "loopback");
	address_parse("::ffff:10.101.1.2", 1, &parsed);
	uint32_t address = 0;
	ok(address_ipv4(&parsed, &address) && address == 0x0a650102 &&
		   !address_is_loopback(&parsed),
	   "a mapped address");
	address_parse("[::]:53", 1, &parsed);
	ok(address_is_wildcard(&parsed), "wildcard");
}

int main(void)
{
	test_judge();
	test_addresses();
	return tap_done();
}
