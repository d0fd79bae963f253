#include "dnsd/dnsd.h"

#include <arpa/inet.h>
#include <unistd.h>

struct listener {
	struct dnsd *dnsd; /* borrowed */
	uint64_t id;
	struct place_of place;
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

static int listener_add(struct dnsd *dnsd, const struct place_of *place, bool bridge)
{
	_cleanup_(listener_freep) struct listener *listener = xcalloc(1, sizeof(*listener));
	int r;

	listener->dnsd = dnsd;
	listener->id = dnsd->next_id++;
	listener->place = *place;
	listener->bridge = bridge;
	listener->tcp = -1;
	/* The bridge comes and goes with the engine: its address may be bound before it is
	 * there. */
	listener->udp = udp_open(place, bridge);
	if (listener->udp < 0)
		return listener->udp;
	listener->tcp = tcp_open(place, bridge);
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

static char *trouble(const char *where, int error)
{
	switch (-error) {
	case EADDRINUSE:
		return xasprintf("cannot listen on %s: another program has this port; stop it, or "
				 "choose another "
				 "address with dns-listen",
				 where);
	case EADDRNOTAVAIL:
		return xasprintf(
			"cannot listen on %s: this machine has no such address; correct dns-listen",
			where);
	case EACCES:
	case EPERM:
		return xasprintf("cannot listen on %s: ports below 1024 need CAP_NET_BIND_SERVICE; "
				 "start it as its "
				 "unit does, or choose a higher port with dns-listen",
				 where);
	default:
		return xasprintf("cannot listen on %s: %s", where, strerror(-error));
	}
}

int listen_start(struct dnsd *dnsd)
{
	for (char **text = dnsd->config->listen; text && *text; text++) {
		_cleanup_free_ char *where = NULL, *words = NULL;
		struct place_of place;
		int r = place_parse(*text, DNSD_PORT, &place);

		if (r < 0 || place_is_wildcard(&place)) {
			log_error("dns-listen: '%s' is not one address of this machine; write it "
				  "as 127.0.0.1:53 or "
				  "[::1]:53",
				  *text);
			return -EINVAL;
		}
		r = listener_add(dnsd, &place, false);
		where = place_format(&place);
		if (r < 0) {
			words = trouble(where, r);
			log_error("%s", words);
			return r;
		}
		log_info("listening on %s", where);
	}
	return 0;
}

static void on_again(void *userdata)
{
	listen_bridge(userdata);
}

static void forget_bridge(struct dnsd *dnsd)
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
	struct place_of place = { .length = sizeof(struct sockaddr_in) };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&place.address;
	_cleanup_free_ char *where = NULL, *words = NULL;
	uint32_t address;
	int r;

	if (!zone_bridge(dnsd->zone, dnsd->machine, &address) || address == dnsd->bridge)
		return;
	forget_bridge(dnsd);
	v4->sin_family = AF_INET;
	v4->sin_port = htons(DNSD_PORT);
	v4->sin_addr.s_addr = htonl(address);
	where = place_format(&place);
	r = listen_is_own(dnsd, &place) ? 0 : listener_add(dnsd, &place, true);
	if (r == 0) {
		dnsd->bridge = address;
		free(steal(dnsd->bridge_trouble));
		log_info("listening on %s", where);
		return;
	}
	words = trouble(where, r);
	if (!streq(words, dnsd->bridge_trouble))
		log_error("%s; trying again every %llu s", words, BIND_AGAIN_USEC / 1000000);
	free(dnsd->bridge_trouble);
	dnsd->bridge_trouble = steal(words);
	if (!dnsd->bind_again)
		dnsd->bind_again = timer_new(dnsd->loop, on_again, dnsd);
	timer_arm(dnsd->bind_again, BIND_AGAIN_USEC);
}

int listen_socket(const struct dnsd *dnsd, uint64_t id)
{
	for (size_t i = 0; i < dnsd->n_listeners; i++)
		if (dnsd->listeners[i]->id == id)
			return dnsd->listeners[i]->udp;
	return -1;
}

bool listen_is_own(const struct dnsd *dnsd, const struct place_of *place)
{
	for (size_t i = 0; i < dnsd->n_listeners; i++)
		if (place_equal(&dnsd->listeners[i]->place, place))
			return true;
	return false;
}

json_t *listen_status(const struct dnsd *dnsd)
{
	json_t *list = json_array();

	for (size_t i = 0; i < dnsd->n_listeners; i++) {
		_cleanup_free_ char *text = place_format(&dnsd->listeners[i]->place);

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
	timer_free(steal(dnsd->bind_again));
	free(steal(dnsd->bridge_trouble));
}
