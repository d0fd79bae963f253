/* Probe: this machine's state, from the kernel's files and from agentd, which alone reaches the
 * engine. */
#include <sys/utsname.h>
#include <unistd.h>

#include "placerd/placerd.h"

/* /proc/net/tcp of a busy gateway has 150 bytes a connection. */
#define PROC_FILE_MAX (16u * 1024 * 1024)

struct probing {
	struct probing *next;
	struct placerd *placerd;
	struct bus_request *request;
	struct probe *probe;
	probe_fn fn;
	void *userdata;
};

void probe_drop(struct probing *probing)
{
	struct probing **link = &probing->placerd->probings;

	while (*link != probing)
		link = &(*link)->next;
	*link = probing->next;
	if (probing->request)
		bus_request_cancel(probing->request);
	probe_free(probing->probe);
	free(probing);
}

static char *read_proc(const struct placerd *placerd, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", placerd->config->proc, name);
	char *text = NULL;
	int r = file_read(path, PROC_FILE_MAX, &text, NULL);

	if (r == 0)
		return text;
	/* A kernel without IPv6 has no tcp6. */
	if (r != -ENOENT)
		log_errno(LOG_WARNING, r, "cannot read %s", path);
	return xstrdup("");
}

static void read_kernel(const struct placerd *placerd, struct probe *probe)
{
	_cleanup_free_ char *meminfo = read_proc(placerd, "meminfo");
	_cleanup_free_ char *loadavg = read_proc(placerd, "loadavg");
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct utsname name;

	probe->memory = proc_meminfo(meminfo, "MemTotal");
	probe->memory_free = proc_meminfo(meminfo, "MemAvailable");
	probe->load = proc_loadavg(loadavg);
	probe->cores = cores > 0 ? cores : 1;
	if (!probe->arch && uname(&name) == 0)
		probe->arch = xstrdup(name.machine);
	probe->gateway_http = strv_copy(placerd->config->gateway_http);
	probe->gateway_address = xstrdup(placerd->config->gateway_address);
}

/* Called after agentd's answer, whose ports have owners. */
static void read_ports(const struct placerd *placerd, struct probe *probe)
{
	static const struct {
		const char *name;
		enum protocol protocol;
	} files[] = {
		{ "net/tcp", PROTOCOL_TCP },
		{ "net/tcp6", PROTOCOL_TCP },
		{ "net/udp", PROTOCOL_UDP },
		{ "net/udp6", PROTOCOL_UDP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_free_ char *text = read_proc(placerd, files[i].name);

		proc_listeners(text, files[i].protocol, probe);
	}
}

/* Moves agentd's answer into the probe. */
static void take_listed(struct probe *probe, struct agent_listed *listed)
{
	probe->engine = listed->engine;
	probe->engine_version = steal(listed->engine_version);
	probe->engine_error = steal(listed->engine_error);
	probe->arch = steal(listed->arch);
	probe->disk = listed->disk;
	probe->disk_free = listed->disk_free;
	probe->instances = steal(listed->instances);
	probe->reservations = steal(listed->reservations);
	probe->host_ports = steal(listed->host_ports);
	probe->images = steal(listed->images);
	probe->n_instances = listed->n_instances;
	probe->n_reservations = listed->n_reservations;
	probe->n_host_ports = listed->n_host_ports;
	probe->n_images = listed->n_images;
	listed->n_instances = listed->n_reservations = listed->n_host_ports = listed->n_images = 0;
}

static void on_listed(const struct failure *failure, void *answer, void *userdata)
{
	struct probing *probing = userdata;
	struct probe *probe = probing->probe;
	probe_fn fn = probing->fn;
	void *fns = probing->userdata;

	probing->request = NULL;
	if (failure)
		probe->engine_error = xstrdup(failure->message);
	else
		take_listed(probe, answer);
	read_ports(probing->placerd, probe);
	read_kernel(probing->placerd, probe);
	probing->placerd->probes++;
	probing->probe = NULL;
	probe_drop(probing);
	fn(probe, fns);
}

struct probing *probe_make(struct placerd *placerd, char *const *images, probe_fn fn,
			   void *userdata)
{
	struct probing *probing = xcalloc(1, sizeof(*probing));
	const struct agent_list list = { .images = (char **)images };

	probing->placerd = placerd;
	probing->fn = fn;
	probing->userdata = userdata;
	probing->probe = codec_new(&probe_schema);
	probing->probe->machine = xstrdup(placerd->config->daemon.machine);
	probing->next = placerd->probings;
	placerd->probings = probing;
	bus_ask(placerd->daemon->bus, SUBJECT_AGENT_LIST, placerd->config->daemon.machine, &list,
		AGENT_USEC, on_listed, probing, &probing->request);
	return probing;
}
