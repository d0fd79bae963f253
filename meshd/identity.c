/* Identity: this machine's id, and the password of each user of the local bus. */
#include "meshd/meshd.h"

#include <sodium.h>
#include <sys/stat.h>

#define PASSWORD_BYTES 24
#define FILE_MAX 4096
#define FILE_MODE 0600
#define DIRECTORY_MODE 0700

/* The two lines of <user>.conf. */
struct credential {
	char *user, *password;
};
static const struct config_row rows[] = {
	{ "user", CONFIG_STRING, offsetof(struct credential, user), NULL, "NAME", "name on the bus",
	  0, 0 },
	{ "password", CONFIG_STRING, offsetof(struct credential, password), NULL, "TEXT",
	  "its secret", 0, 0 },
	CONFIG_END,
};

static void credential_clear(struct credential *credential)
{
	if (credential->password)
		sodium_memzero(credential->password, strlen(credential->password));
	config_clear(rows, credential);
}

static char *random_password(void)
{
	unsigned char bytes[PASSWORD_BYTES];
	char text[2 * PASSWORD_BYTES + 1];

	randombytes_buf(bytes, sizeof(bytes));
	sodium_bin2hex(text, sizeof(text), bytes, sizeof(bytes));
	sodium_memzero(bytes, sizeof(bytes));
	return xstrdup(text);
}

static bool plain(const char *s)
{
	return s && *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789")] == '\0';
}

/* The id is made at the first start and never changes. */
static int machine_id(const char *directory, char **ret)
{
	_cleanup_free_ char *path = xasprintf("%s/machine", directory);
	_cleanup_free_ char *text = NULL;
	int r = file_read(path, FILE_MAX, &text, NULL);

	if (r == -ENOENT) {
		_cleanup_free_ char *id = id_new();
		_cleanup_free_ char *line = xasprintf("%s\n", id);

		r = file_write_atomic(path, line, strlen(line), FILE_MODE);
		if (r < 0)
			return log_errno(LOG_ERR, r, "cannot write the machine id to %s", path);
		log_notice("this machine has the new id %s (%s)", id, path);
		*ret = steal(id);
		return 0;
	}
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot read the machine id from %s", path);
	text[strcspn(text, "\r\n")] = '\0';
	if (!name_valid(text)) {
		log_error("cannot read the machine id from %s: it holds none; restore it, or "
			  "remove it to make this a new machine",
			  path);
		return -EINVAL;
	}
	*ret = steal(text);
	return 0;
}

/* A user's password, made when its file does not exist. A damaged file is reported and not
 * replaced: running programs use the password that it had. */
static int password(const char *directory, const char *file, const char *user, char **ret)
{
	_cleanup_free_ char *path = xasprintf("%s/%s.conf", directory, file);
	_cleanup_(credential_clear) struct credential credential;
	struct failure failure = FAILURE_INIT;
	_cleanup_free_ char *text = NULL;
	int r;

	config_init(rows, &credential);
	r = config_read(rows, &credential, path, true, &failure);
	if (r == 0 && plain(credential.password) && streq(credential.user, user)) {
		*ret = steal(credential.password);
		return 0;
	}
	if (r != -ENOENT) {
		log_error("cannot read the password of user %s from %s: %s; remove it to get a new "
			  "one",
			  user, path,
			  failure.message ? failure.message : "it does not hold both lines");
		failure_clear(&failure);
		return -EINVAL;
	}
	failure_clear(&failure);
	credential.password = random_password();
	text = xasprintf("user = %s\npassword = %s\n", user, credential.password);
	r = file_write_atomic(path, text, strlen(text), FILE_MODE);
	sodium_memzero(text, strlen(text));
	if (r < 0)
		return log_errno(LOG_ERR, r, "cannot write %s", path);
	*ret = steal(credential.password);
	return 0;
}

int private_directory(const char *path, unsigned mode)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent =
		slash && slash > path ? xstrndup(path, (size_t)(slash - path)) : NULL;
	int r = parent ? directory_make(parent, 0755) : 0;

	if (r >= 0)
		r = directory_make(path, mode);
	return r < 0 ? log_errno(LOG_ERR, r, "cannot create the directory %s", path) : 0;
}

/* Also narrows the mode of one that exists. */
static int closed_directory(const char *path)
{
	int r = private_directory(path, DIRECTORY_MODE);

	if (r == 0 && chmod(path, DIRECTORY_MODE) < 0)
		r = log_errno(LOG_ERR, errno, "cannot set the mode of %s", path);
	return r;
}

int identity_open(const char *path, struct identity *ret)
{
	struct identity identity = { 0 };
	int r;

	if (sodium_init() < 0)
		return log_errno(LOG_ERR, ENOSYS, "cannot initialise libsodium");
	r = closed_directory(path);
	if (r >= 0)
		r = machine_id(path, &identity.machine);
	if (r >= 0)
		r = password(path, "leaf", identity.machine, &identity.leaf_password);
	for (size_t i = 0; r >= 0 && permission_users[i]; i++) {
		struct render_user *user = array_add(identity.users, identity.n_users);

		user->name = xstrdup(permission_users[i]);
		r = password(path, user->name, user->name, &user->password);
	}
	if (r < 0) {
		identity_clear(&identity);
		return r;
	}
	*ret = identity;
	return 0;
}

static void secret_free(char *secret)
{
	if (secret)
		sodium_memzero(secret, strlen(secret));
	free(secret);
}

void identity_clear(struct identity *identity)
{
	for (size_t i = 0; i < identity->n_users; i++) {
		free(identity->users[i].name);
		secret_free(identity->users[i].password);
	}
	free(identity->users);
	free(identity->machine);
	secret_free(identity->leaf_password);
	*identity = (struct identity){ 0 };
}
