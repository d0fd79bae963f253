/* What a probe reads in /proc. */
#include "placerd/placerd.h"
#include "tests/tap.h"

#define TITLES "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"

/* 127.0.0.1:5432 and [::1]:80 listen; the others are a connection, a port of a container, and no
 * address. */
static void listeners(void)
{
	_cleanup_(probe_freep) struct probe *probe = codec_new(&probe_schema);

	*array_add(probe->host_ports, probe->n_host_ports) =
		(struct host_port){ .port = 443, .owner = xstrdup("blog/blog") };
	proc_listeners(TITLES "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000\n"
			      "   1: 0100007F:1538 0100007F:9999 01 00000000:00000000 00:00000000\n"
			      "   2: 00000000:01BB 00000000:0000 0A 00000000:00000000 00:00000000\n"
			      "   3: 0200007F:1538 00000000:0000 0A 00000000:00000000 00:00000000\n"
			      "   4: 0200007F:1538 00000000:0000 0A 00000000:00000000 00:00000000\n"
			      "   5: 00007F:1538 00000000:0000 0A 00000000:00000000 00:00000000\n",
		       PROTOCOL_TCP, probe);
	proc_listeners(TITLES "   0: 00000000000000000000000001000000:0050 "
			      "00000000000000000000000000000000:0000 0A 00000000:00000000\n",
		       PROTOCOL_TCP, probe);
	is_int((long long)probe->n_host_ports, 4, "listeners, each address once");
	is(probe->host_ports[1].address, "127.0.0.1", "IPv4");
	is_int(probe->host_ports[1].port, 5432, "its port");
	is(probe->host_ports[2].address, "127.0.0.2", "another address, the same port");
	is(probe->host_ports[3].address, "::1", "IPv6");
	is_int(probe->host_ports[3].port, 80, "its port");
}

/* A gateway's table: time must not grow with the square of its lines. */
static void many_connections(void)
{
	_cleanup_(probe_freep) struct probe *probe = codec_new(&probe_schema);
	_cleanup_(strbuf_clear) struct strbuf text = STRBUF_INIT;

	strbuf_puts(&text, TITLES);
	for (int i = 0; i < 50000; i++)
		strbuf_printf(&text,
			      "%6d: 0100007F:1F90 0100007F:%04X 06 00000000:00000000 03:00001391 "
			      "00000000     0        0 0 3 0000000000000000\n",
			      i, 1024 + i);
	strbuf_puts(&text, " 50000: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000\n");
	proc_listeners(text.text, PROTOCOL_TCP, probe);
	ok(probe->n_host_ports == 1 && probe->host_ports[0].port == 5432,
	   "the listener behind 50,000 connections");
}

#define MEMINFO "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\nMem: x kB\n"

static const struct {
	const char *text, *key;
	uint64_t bytes;
} memory[] = {
	{ MEMINFO, "MemTotal", 16384 * 1024 },
	{ MEMINFO, "MemAvailable", 8192 * 1024 },
	{ MEMINFO, "MemFree", 1024 },
	{ MEMINFO, "Mem", 0 },
	{ MEMINFO, "Total", 0 },
	{ "", "MemTotal", 0 },
	{ "MemTotal:", "MemTotal", 0 },
};
static const struct {
	const char *text;
	double load;
} loads[] = {
	{ "1.25 0.50 0.10 1/100 4242\n", 1.25 },
	{ "0.00 0.01 0.05 1/1 1\n", 0 },
	{ "", 0 },
	{ "none\n", 0 },
	{ "-1 0 0\n", 0 },
	{ "nan 0 0\n", 0 },
};

int main(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(memory); i++)
		is_int((long long)proc_meminfo(memory[i].text, memory[i].key),
		       (long long)memory[i].bytes, memory[i].key);
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		double load = proc_loadavg(loads[i].text);

		ok(load >= loads[i].load && load <= loads[i].load, "load %g", loads[i].load);
	}
	listeners();
	many_connections();
	return tap_done();
}
