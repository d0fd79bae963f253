/* Hand-off: a bounded queue with an eventfd that wakes the loop. */
#include "lib/handoff.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "lib/log.h"

struct handoff {
	atomic_int references;
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct incoming *first, **last;
	size_t count;
	bool closed;
	int event;		 /* eventfd: the loop is woken */
	struct handoff *retired; /* the one retired before it */
};

static struct handoff *retired;

struct handoff *handoff_new(void)
{
	struct handoff *h = xcalloc(1, sizeof(*h));

	atomic_init(&h->references, 1);
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->room, NULL);
	h->last = &h->first;
	h->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return h;
}

struct handoff *handoff_ref(struct handoff *h)
{
	atomic_fetch_add(&h->references, 1);
	return h;
}

void incoming_free(struct incoming *incoming)
{
	natsMsg_Destroy(incoming->message);
	free(incoming);
}

void handoff_unref(struct handoff *h)
{
	if (atomic_fetch_sub(&h->references, 1) > 1)
		return;
	for (struct incoming *i = h->first, *next; i; i = next) {
		next = i->next;
		incoming_free(i);
	}
	close(h->event);
	pthread_cond_destroy(&h->room);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void handoff_put(struct handoff *h, enum incoming_kind kind, uint64_t subscription,
		 natsMsg *message)
{
	struct incoming *incoming = xcalloc(1, sizeof(*incoming));
	const uint64_t one = 1;
	bool wake;

	incoming->kind = kind;
	incoming->subscription = subscription;
	incoming->message = message;
	pthread_mutex_lock(&h->lock);
	while (h->count >= HANDOFF_MAX && !h->closed)
		pthread_cond_wait(&h->room, &h->lock);
	if (h->closed) {
		pthread_mutex_unlock(&h->lock);
		incoming_free(incoming);
		return;
	}
	wake = !h->first;
	*h->last = incoming;
	h->last = &incoming->next;
	h->count++;
	pthread_mutex_unlock(&h->lock);
	/* The eventfd's counter cannot overflow: it is written once per emptied queue. */
	if (wake && write(h->event, &one, sizeof(one)) < 0)
		log_debug("cannot wake the loop: %s", strerror(errno));
}

struct incoming *handoff_take(struct handoff *h, bool *ret_more)
{
	struct incoming *taken;

	pthread_mutex_lock(&h->lock);
	taken = h->first;
	if (taken) {
		h->first = taken->next;
		if (!h->first)
			h->last = &h->first;
		h->count--;
		pthread_cond_signal(&h->room);
	}
	*ret_more = h->first != NULL;
	pthread_mutex_unlock(&h->lock);
	return taken;
}

int handoff_event(const struct handoff *h)
{
	return h->event;
}

void handoff_close(struct handoff *h)
{
	pthread_mutex_lock(&h->lock);
	h->closed = true;
	pthread_cond_broadcast(&h->room);
	pthread_mutex_unlock(&h->lock);
}

void handoff_retire(struct handoff *h)
{
	h->retired = retired;
	retired = h;
}
