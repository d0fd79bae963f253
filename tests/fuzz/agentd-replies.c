/* Single replies of the engine, read by themselves: a container of a list or an inspection, lines
 * of a pull, output in frames, references of images, subnets; and what an earlier process saved of
 * its locks.
 *
 * The first byte chooses which.
 *
 * covers: agentd/container-read.c agentd/lines.c agentd/images.c agentd/locks.c
 *
 * options: -max_len=1200 */
#include "agentd/agentd.h"
#include "tests/fuzz/fuzz.h"

/* What an instance's labels say goes into the log, and everybody reads it there. */
static void holds_readable(const struct codec_schema *schema, const void *object)
{
	_cleanup_json_ json_t *json = codec_encode(schema, object);
	_cleanup_(failure_clear) struct failure failure = FAILURE_INIT;
	void *same = NULL;

	if (codec_decode_new(schema, json, CODEC_LENIENT, &same, &failure) < 0)
		fprintf(stderr, "%s: %s: %s\n", schema->name, failure.path, failure.message);
	HOLDS(same);
	codec_destroy(schema, same);
}

static void container(const char *bytes, size_t size)
{
	_cleanup_json_ json_t *json =
		json_loadb(bytes, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
	struct container_seen seen;

	container_read(json, "ployz", &seen);
	if (seen.instance)
		holds_readable(&instance_schema, seen.instance);
	if (seen.service)
		holds_readable(&service_schema, seen.service);
	for (size_t i = 0; i < seen.n_host_ports; i++)
		holds_readable(&host_port_schema, &seen.host_ports[i]);
	container_clear(&seen);
}

static void pull(struct cursor *c)
{
	struct pull_layers layers = { MAP_INIT, NULL };
	int64_t done = 0, total = 0;

	while (cursor_left(c)) {
		size_t size;
		const char *line = cursor_part(c, &size);

		pull_line(&layers, line, size);
		pull_sum(&layers, &done, &total);
		HOLDS(done >= 0 && done <= total);
	}
	pull_clear(&layers);
}

static void on_line(const char *stream, const char *line, size_t size, bool cut, void *userdata)
{
	struct strbuf *all = userdata;

	HOLDS(size <= LINE_MAX_BYTES);
	strbuf_puts(all, cut ? "!" : ":");
	strbuf_puts(all, stream);
	strbuf_add(all, line, size);
	strbuf_add(all, "\n", 1);
}

/* What travels of a line. */
static void text(const char *bytes, size_t size)
{
	_cleanup_free_ char *valid = str_valid(bytes, size), *cut = str_cut(valid, 50);
	_cleanup_json_ json_t *json = json_string(valid), *of_cut = json_string(cut);

	HOLDS(json && of_cut && strlen(cut) <= 50);
}

/* However it is cut into pieces, the same lines come out. */
static void feed(const struct strbuf *bytes, size_t piece, struct strbuf *ret)
{
	struct lines lines = { .fn = on_line, .userdata = ret };

	for (size_t at = 0; at < bytes->size; at += piece) {
		/* In its own size: a byte that is read beyond it is found. */
		size_t n = MIN2(piece, bytes->size - at);
		_cleanup_free_ char *part = xmalloc(n);

		memcpy(part, bytes->text + at, n);
		lines_feed(&lines, part, n);
	}
	lines_flush(&lines);
	lines_clear(&lines);
}

static void output(struct cursor *c)
{
	size_t piece = 1 + cursor_byte(c) % 64, repeat = cursor_byte(c) > 250 ? 20 : 1;
	_cleanup_(strbuf_clear) struct strbuf bytes = STRBUF_INIT;
	_cleanup_(strbuf_clear) struct strbuf whole = STRBUF_INIT, pieces = STRBUF_INIT;

	text((const char *)c->at, cursor_left(c));
	/* Lines that are longer than any input. */
	for (size_t i = 0; i < repeat; i++)
		strbuf_add(&bytes, c->at, cursor_left(c));
	piece *= repeat * repeat;
	feed(&bytes, bytes.size + 1, &whole);
	feed(&bytes, piece, &pieces);
	HOLDS(whole.size == pieces.size &&
	      (!whole.size || memcmp(whole.text, pieces.text, whole.size) == 0));
}

static void reference(const char *name)
{
	_cleanup_free_ char *repository = NULL, *tag = NULL,
			    *address = network_bridge_address(name);

	images_split(name, &repository, &tag);
	HOLDS(repository && tag && strlen(repository) <= strlen(name));
	HOLDS(!address || strchr(name, '/'));
}

/* A fence that was read is written again, and holds. */
static void locks(const char *bytes, size_t size)
{
	_cleanup_json_ json_t *json = json_loadb(bytes, size, 0, NULL);
	struct locks locks = { .map = MAP_INIT }, again = { .map = MAP_INIT };

	if (locks_decode(&locks, json, 0) == 0) {
		_cleanup_json_ json_t *saved = locks_encode(&locks), *same = NULL;

		HOLDS(locks_decode(&again, saved, 0) == 0);
		same = locks_encode(&again);
		HOLDS(json_equal(saved, same));
		for (struct map_item *i = NULL; (i = map_next(&locks.map, i));)
			HOLDS(locks_epoch(&again, i->key) ==
			      ((const struct lock *)i->value)->epoch);
	}
	locks_clear(&locks);
	locks_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = { data, data + size };
	_cleanup_free_ char *string = NULL;

	switch (cursor_byte(&c) % 5) {
	case 0:
		container((const char *)c.at, cursor_left(&c));
		break;
	case 1:
		pull(&c);
		break;
	case 2:
		output(&c);
		break;
	case 3:
		string = cursor_string(&c);
		reference(string);
		break;
	case 4:
		locks((const char *)c.at, cursor_left(&c));
		break;
	}
	return 0;
}
