#include "lib/ployz.h"
#include "tests/tap.h"

static const struct {
	const char *host, *path, *key;
} rows[] = {
	{ "shop.example", "/api", "shop.example/api" },
	{ "shop.example", "/", "shop.example/" },
	{ "shop.example", NULL, "shop.example/" },
	{ "shop.example", "", "shop.example/" },
	{ "Shop.EXAMPLE", "/Api", "shop.example/Api" },
	{ "shop.example", "/api/", "shop.example/api" },
	{ "*.example", "/", "*.example/" },
	{ "a", "//", "a/" },
};

int main(void)
{
	struct http_route http = { .hosts = (char *[]){ "a", "b", NULL }, .path = "/x" };
	struct tcp_route tcp = { .listen = 5432 };
	struct route_spec routes[] = { { .http = &http }, { .tcp = &tcp } };
	struct service service = { .routes = routes, .n_routes = 2 }, none = { .name = NULL };
	_cleanup_(strv_freep) char **keys = route_keys(&service);
	_cleanup_free_ char *all = strv_join(keys, " ");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *key = route_key_http(rows[i].host, rows[i].path);

		is(key, rows[i].key, rows[i].key);
	}
	is(all, "a/x b/x tcp/5432", "every key of a service");
	ok(strv_count(route_keys(&none)) == 0, "a service without routes");
	return tap_done();
}
