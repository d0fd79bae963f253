/* Listen: sockets on the configured addresses and on the bridge. */
#include "dnsd/dnsd.h"

#include <arpa/inet.h>
#include <unistd.h>

struct listener {
	struct dnsd *dnsd; /* borrowed */
	uint64_t id;
	struct address address;
	bool bridge;
	int udp, tcp;
	sd_event_source *udp_source, *tcp_source;
};

static void listener_free(struct listener *listener)
{
	if (!listener)
		return;
	sd_event_source_disable_unref(listener->udp_source);
	sd_event_source_disable_unref(listener->tcp_source);
	if (listener->udp >= 0)
		close(listener->udp);
	if (listener->tcp >= 0)
		close(listener->tcp);
	free(listener);
}
DEFINE_CLEANUP(struct listener, listener_free);

static int on_udp(sd_event_source *source _unused_, int fd, uint32_t events _unused_,
		  void *userdata)
{
	struct listener *listener = userdata;

	udp_read(listener->dnsd, listener->id, fd);
	return 0;
}

static int on_tcp(sd_event_source *source _unused_, int fd, uint32_t events _unused_,
		  void *userdata)
{
	struct listener *listener = userdata;

	tcp_accept(listener->dnsd, fd);
	return 0;
}

static int listener_add(struct dnsd *dnsd, const struct address *address, bool bridge)
{
	_cleanup_(listener_freep) struct listener *listener = xcalloc(1, sizeof(*listener));
	int r;

	listener->dnsd = dnsd;
	listener->id = dnsd->next_id++;
	listener->address = *address;
	listener->bridge = bridge;
	listener->tcp = -1;
	/* The engine creates and removes the bridge: its address may be bound before it exists. */
	listener->udp = udp_open(address, bridge);
	if (listener->udp < 0)
		return listener->udp;
	listener->tcp = tcp_open(address, bridge);
	if (listener->tcp < 0)
		return listener->tcp;
	r = sd_event_add_io(dnsd->loop, &listener->udp_source, listener->udp, EPOLLIN, on_udp,
			    listener);
	if (r >= 0)
		r = sd_event_add_io(dnsd->loop, &listener->tcp_source, listener->tcp, EPOLLIN,
				    on_tcp, listener);
	if (r < 0)
		return r;
	*array_add(dnsd->listeners, dnsd->n_listeners) = steal(listener);
	return 0;
}

static char *listen_error(const char *address, int error)
{
	switch (-error) {
	case EADDRINUSE:
		return xasprintf("cannot listen on %s: another process uses this port; stop it, or "
				 "set another address with dns-listen",
				 address);
	case EADDRNOTAVAIL:
		return xasprintf("cannot listen on %s: this machine has no such address; correct "
				 "dns-listen",
				 address);
	case EACCES:
	case EPERM:
		return xasprintf("cannot listen on %s: ports below 1024 need CAP_NET_BIND_SERVICE; "
				 "start dnsd with its unit, or set a higher port with dns-listen",
				 address);
	default:
		return xasprintf("cannot listen on %s: %s", address, strerror(-error));
	}
}

int listen_start(struct dnsd *dnsd)
{
	for (char **text = dnsd->config->listen; text && *text; text++) {
		_cleanup_free_ char *formatted = NULL, *message = NULL;
		struct address address;
		int r = address_parse(*text, DNSD_PORT, &address);

		if (r < 0 || address_is_wildcard(&address)) {
			log_error("cannot listen on '%s': not one address of this machine; write "
				  "dns-listen as 127.0.0.1:53 or [::1]:53",
				  *text);
			return -EINVAL;
		}
		r = listener_add(dnsd, &address, false);
		formatted = address_format(&address);
		if (r < 0) {
			message = listen_error(formatted, r);
			log_error("%s", message);
			return r;
		}
		log_info("listening on %s", formatted);
	}
	return 0;
}

static void on_bind_timer(void *userdata)
{
	listen_bridge(userdata);
}

static void close_bridge(struct dnsd *dnsd)
{
	for (size_t i = 0; i < dnsd->n_listeners; i++) {
		if (!dnsd->listeners[i]->bridge)
			continue;
		listener_free(dnsd->listeners[i]);
		dnsd->listeners[i] = dnsd->listeners[--dnsd->n_listeners];
		dnsd->listeners[dnsd->n_listeners] = NULL;
		break;
	}
	dnsd->bridge = 0;
}

void listen_bridge(struct dnsd *dnsd)
{
	const struct zone *zone = dnsd_zone(dnsd);
	struct address address = { .length = sizeof(struct sockaddr_in) };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address.socket;
	_cleanup_free_ char *formatted = NULL, *message = NULL;
	uint32_t bridge;
	int r;

	if (!zone || !zone_bridge(zone, dnsd->machine, &bridge) || bridge == dnsd->bridge)
		return;
	close_bridge(dnsd);
	v4->sin_family = AF_INET;
	v4->sin_port = htons(DNSD_PORT);
	v4->sin_addr.s_addr = htonl(bridge);
	formatted = address_format(&address);
	r = listen_is_own(dnsd, &address) ? 0 : listener_add(dnsd, &address, true);
	if (r == 0) {
		dnsd->bridge = bridge;
		free(steal(dnsd->bridge_error));
		log_info("listening on %s", formatted);
		return;
	}
	message = listen_error(formatted, r);
	if (!streq(message, dnsd->bridge_error))
		log_error("%s; retrying every %llu s", message, BIND_RETRY_USEC / 1000000);
	free(dnsd->bridge_error);
	dnsd->bridge_error = steal(message);
	if (!dnsd->bind_timer)
		dnsd->bind_timer = timer_new(dnsd->loop, on_bind_timer, dnsd);
	timer_arm(dnsd->bind_timer, BIND_RETRY_USEC);
}

int listen_socket(const struct dnsd *dnsd, uint64_t id)
{
	for (size_t i = 0; i < dnsd->n_listeners; i++)
		if (dnsd->listeners[i]->id == id)
			return dnsd->listeners[i]->udp;
	return -1;
}

bool listen_is_own(const struct dnsd *dnsd, const struct address *address)
{
	for (size_t i = 0; i < dnsd->n_listeners; i++)
		if (address_equal(&dnsd->listeners[i]->address, address))
			return true;
	return false;
}

json_t *listen_status(const struct dnsd *dnsd)
{
	json_t *list = json_array();

	for (size_t i = 0; i < dnsd->n_listeners; i++) {
		_cleanup_free_ char *text = address_format(&dnsd->listeners[i]->address);

		json_array_append_new(list, json_string(text));
	}
	return list;
}

void listen_free(struct dnsd *dnsd)
{
	for (size_t i = 0; i < dnsd->n_listeners; i++)
		listener_free(dnsd->listeners[i]);
	free(steal(dnsd->listeners));
	dnsd->n_listeners = 0;
	timer_free(steal(dnsd->bind_timer));
	free(steal(dnsd->bridge_error));
}
