/* Lines (pure): the engine's multiplexed output becomes lines. */
#include "agentd/agentd.h"

static size_t stream_index(const struct lines *lines)
{
	return lines->header[0] == 2 ? 1 : 0;
}

static void emit(struct lines *lines, size_t index)
{
	static const char *const names[] = { "stdout", "stderr" };
	size_t size = lines->streams[index].size;

	/* A line of a terminal ends with both. */
	if (size && lines->streams[index].text[size - 1] == '\r')
		size--;
	lines->fn(names[index], lines->streams[index].text ? lines->streams[index].text : "", size,
		  lines->streams[index].cut, lines->userdata);
	lines->streams[index].size = 0;
	lines->streams[index].cut = false;
}

static void add(struct lines *lines, size_t index, const char *data, size_t size)
{
	while (size) {
		const char *end = memchr(data, '\n', size);
		size_t piece = end ? (size_t)(end - data) : size;
		size_t space = LINE_MAX_BYTES - lines->streams[index].size;
		size_t taken = MIN2(piece, space);

		if (!lines->streams[index].text)
			lines->streams[index].text = xmalloc(LINE_MAX_BYTES);
		memcpy(lines->streams[index].text + lines->streams[index].size, data, taken);
		lines->streams[index].size += taken;
		if (taken < piece)
			lines->streams[index].cut = true;
		if (end) {
			emit(lines, index);
			piece++;
		}
		data += piece;
		size -= piece;
	}
}

/* {stream, 0, 0, 0, size big-endian}, then as many bytes. Anything else is plain output: a
 * container with a terminal, which is none of ours, has no frames. */
static bool header_read(struct lines *lines)
{
	const unsigned char *h = lines->header;

	if (h[0] > 2 || h[1] || h[2] || h[3])
		return false;
	lines->left = (size_t)h[4] << 24 | (size_t)h[5] << 16 | (size_t)h[6] << 8 | (size_t)h[7];
	return true;
}

void lines_feed(struct lines *lines, const char *data, size_t size)
{
	while (size) {
		size_t piece;

		if (lines->broken) {
			add(lines, 0, data, size);
			return;
		}
		if (lines->left == 0) {
			piece = MIN2(sizeof(lines->header) - lines->have, size);
			memcpy(lines->header + lines->have, data, piece);
			lines->have += piece;
			data += piece;
			size -= piece;
			if (lines->have < sizeof(lines->header))
				return;
			lines->have = 0;
			if (!header_read(lines)) {
				lines->broken = true;
				add(lines, 0, (const char *)lines->header, sizeof(lines->header));
			}
			continue;
		}
		piece = MIN2(lines->left, size);
		add(lines, stream_index(lines), data, piece);
		lines->left -= piece;
		data += piece;
		size -= piece;
	}
}

void lines_flush(struct lines *lines)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines->streams); i++)
		if (lines->streams[i].size)
			emit(lines, i);
}

void lines_clear(struct lines *lines)
{
	for (size_t i = 0; i < ARRAY_SIZE(lines->streams); i++)
		free(steal(lines->streams[i].text));
}
