/* The kernel's texts: what /proc says about memory, load and listening ports. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "placerd/placerd.h"

#define TCP_LISTEN 0x0A
#define UDP_UNCONNECTED 0x07
#define LINE_START 100 /* characters of a line that have its addresses and its state */

uint64_t proc_meminfo(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; line;
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		unsigned long long kib;

		if (strncmp(line, key, length) == 0 && line[length] == ':' &&
		    sscanf(line + length + 1, " %llu kB", &kib) == 1)
			return (uint64_t)kib * 1024;
	}
	return 0;
}

double proc_loadavg(const char *text)
{
	char *end;
	double load = strtod(text, &end);

	return end == text || !(load >= 0) ? 0 : load;
}

/* Words of 32 bits in the machine's byte order, as hexadecimal digits: one of IPv4, four of IPv6.
 */
static int address_parse(const char *digits, char *ret, size_t size)
{
	uint32_t words[4];
	size_t n = strlen(digits) / 8;

	if (strlen(digits) % 8 || (n != 1 && n != 4))
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (sscanf(digits + 8 * i, "%8" SCNx32, &words[i]) != 1)
			return -EINVAL;
	return inet_ntop(n == 1 ? AF_INET : AF_INET6, words, ret, (socklen_t)size) ? 0 : -EINVAL;
}

static void add_port(struct probe *probe, int64_t port, enum protocol protocol, const char *address)
{
	for (size_t i = 0; i < probe->n_host_ports; i++) {
		const struct host_port *known = &probe->host_ports[i];

		/* The listening socket of a container's published port is not listed again. */
		if (known->port == port && known->protocol == (int)protocol &&
		    (known->owner || streq(known->address, address)))
			return;
	}
	*array_add(probe->host_ports, probe->n_host_ports) = (struct host_port){
		.port = port, .protocol = (int)protocol, .address = xstrdup(address)
	};
}

/* `  sl  local_address rem_address   st …`, a line of titles first; addresses are HEX:PORT. The line
 * is copied because sscanf reads its text to the end, which may be megabytes away. */
void proc_listeners(const char *text, enum protocol protocol, struct probe *probe)
{
	unsigned wanted = protocol == PROTOCOL_TCP ? TCP_LISTEN : UDP_UNCONNECTED;

	for (const char *line = text; line;
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		char digits[33], address[INET6_ADDRSTRLEN], start[LINE_START + 1];
		unsigned port, remote, state;

		snprintf(start, sizeof(start), "%.*s", LINE_START, line);
		if (sscanf(start, " %*u: %32[0-9A-Fa-f]:%4x %*32[0-9A-Fa-f]:%4x %2x", digits, &port,
			   &remote, &state) == 4 &&
		    state == wanted && port && !remote &&
		    address_parse(digits, address, sizeof(address)) == 0)
			add_port(probe, port, protocol, address);
	}
}
