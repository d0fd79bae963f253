/* The kernel's texts: what /proc says about memory, load and listening ports. */
#include <stdio.h>

#include "placerd/placerd.h"

#define TCP_LISTEN 0x0A
#define UDP_UNCONNECTED 0x07

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

static void add_port(struct probe *probe, int64_t port, enum protocol protocol)
{
	for (size_t i = 0; i < probe->n_host_ports; i++)
		if (probe->host_ports[i].port == port &&
		    probe->host_ports[i].protocol == (int)protocol)
			return;
	*array_add(probe->host_ports, probe->n_host_ports) =
		(struct host_port){ .port = port, .protocol = (int)protocol };
}

/* `  sl  local_address rem_address   st …`, a line of titles first; addresses are HEX:PORT. */
void proc_listeners(const char *text, enum protocol protocol, struct probe *probe)
{
	unsigned wanted = protocol == PROTOCOL_TCP ? TCP_LISTEN : UDP_UNCONNECTED;

	for (const char *line = text; line;
	     line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		unsigned port, remote, state;

		if (sscanf(line, " %*u: %*32[0-9A-Fa-f]:%4x %*32[0-9A-Fa-f]:%4x %2x", &port,
			   &remote, &state) == 3 &&
		    state == wanted && port && !remote)
			add_port(probe, port, protocol);
	}
}
