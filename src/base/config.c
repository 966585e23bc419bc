// SPDX-License-Identifier: MIT
// The three sources. Every value is checked where it is read, also when a stronger source hides it: a mistake
// in the file should not wait for the day when the flag goes away.
#include "base/config.h"

#include "base/file.h"
#include "base/ini.h"
#include "base/mem.h"
#include "config_state.h"
#include "suggest.h"

#include <assert.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

void config_init(struct config *c)
{
	*c = (struct config){ .state = mem_calloc(1, sizeof(*c->state)) };
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		union option_value value = { .number = 0 };
		bool ok = option_parse(&options[i], options[i].def, &value, NULL);
		assert(ok); // else options.def is wrong
		option_store(&options[i], c, value);
	}
}

void config_done(struct config *c)
{
	if (!c->state)
		return;
	for (size_t i = 0; i < OPTION_COUNT; i++)
		config_secret_free(c->state->slots[i].text);
	free(c->state->path);
	free(c->state);
	*c = (struct config){ .state = NULL };
}

static bool set(struct config *c, size_t index, const char *text, enum origin origin, int line, struct err *e)
{
	const struct option_row *o = &options[index];
	struct config_slot *slot = &c->state->slots[index];
	union option_value value = { .number = 0 };
	if (!option_parse(o, text, &value, e))
		return false;
	if (origin < slot->origin)
		return true;
	config_secret_free(slot->text);
	slot->text = option_is_text(o) ? mem_strdup(text) : NULL;
	if (slot->text)
		value.text = slot->text;
	slot->origin = origin;
	slot->line = line;
	option_store(o, c, value);
	return true;
}

static size_t find(const char *section, const char *key)
{
	size_t i = 0;
	while (i < OPTION_COUNT &&
	       (strcmp(options[i].section, section) != 0 || strcmp(options[i].key, key) != 0))
		i++;
	return i;
}

// The file

struct file_reader {
	struct config *c;
	int lines[OPTION_COUNT]; // where each key stands, 0 = not yet seen
};

static bool unknown_section(const char *section, struct err *e)
{
	struct suggest near;
	auto_buf known;
	suggest_init(&near, section);
	buf_init(&known, 512);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (!option_starts_section(i))
			continue;
		suggest_offer(&near, options[i].section);
		buf_addf(&known, "%s%s", known.len ? ", " : "", options[i].section);
	}
	return err_set(e, ERR_CONFIG, "unknown section [%.60s]%s; allowed: %s", section, suggest_text(&near),
		       buf_str(&known));
}

static bool unknown_key(const struct ini_entry *entry, struct err *e)
{
	struct suggest near;
	auto_buf known;
	suggest_init(&near, entry->key);
	buf_init(&known, 512);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		if (strcmp(options[i].section, entry->section) != 0)
			continue;
		suggest_offer(&near, options[i].key);
		buf_addf(&known, "%s%s", known.len ? ", " : "", options[i].key);
	}
	if (!known.len)
		return unknown_section(entry->section, e);
	return err_set(e, ERR_CONFIG, "unknown key \"%.60s\" in [%s]%s; allowed: %s", entry->key,
		       entry->section, suggest_text(&near), buf_str(&known));
}

static bool read_entry(void *arg, const struct ini_entry *entry, struct err *e)
{
	struct file_reader *r = arg;
	size_t i = find(entry->section, entry->key);
	if (i == OPTION_COUNT)
		return unknown_key(entry, e);
	if (r->lines[i])
		return err_set(e, ERR_CONFIG, "%s.%s is set twice, first in line %d", entry->section,
			       entry->key, r->lines[i]);
	r->lines[i] = entry->line;
	if (!set(r->c, i, entry->value, ORIGIN_FILE, entry->line, e))
		return err_prefix(e, "%s.%s", entry->section, entry->key);
	return true;
}

bool config_read_file(struct config *c, const char *path, struct err *e)
{
	// The text is treated like a secret: it may hold the DSN with its password.
	char *text = mem_calloc(FILE_MAX + 1, 1);
	size_t len = 0;
	struct file_reader r = { .c = c };
	free(c->state->path);
	c->state->path = mem_strdup(path);
	bool ok = file_read(path, text, FILE_MAX, &len, e) && ini_parse(path, text, len, read_entry, &r, e);
	explicit_bzero(text, FILE_MAX + 1); // also what was read of a file that is too long
	free(text);
	return ok;
}

// The environment

// Is *text of the form prefix...? Moves *text behind the prefix.
static bool skip_prefix(const char **text, const char *prefix)
{
	size_t len = strlen(prefix);
	if (strncmp(*text, prefix, len) != 0)
		return false;
	*text += len;
	return true;
}

// OUTBOXD_CONFIG is the path of the file. Kubernetes gives every container OUTBOXD_SERVICE_* and OUTBOXD_PORT*
// when a Service of the same namespace is called outboxd: not ours, but not a mistake either.
static bool is_foreign_variable(const char *name)
{
	const char *rest = name;
	return !strcmp(name, "OUTBOXD_CONFIG") || skip_prefix(&rest, "OUTBOXD_SERVICE_") ||
	       !strcmp(name, "OUTBOXD_PORT") || skip_prefix(&rest, "OUTBOXD_PORT_");
}

static bool set_variable(struct config *c, const char *name, char *value, struct err *e)
{
	struct suggest near;
	suggest_init(&near, name);
	for (size_t i = 0; i < OPTION_COUNT; i++) {
		char known[OPTION_NAME_SIZE];
		option_env_name(&options[i], known);
		if (!strcmp(known, name)) {
			if (!set(c, i, value, ORIGIN_ENV, 0, e))
				return err_prefix(e, "%s", name);
			if (options[i].flags & OPTF_SECRET)
				explicit_bzero(value, strlen(value)); // ours is one copy too many already
			return true;
		}
		suggest_offer(&near, known);
	}
	return err_set(e, ERR_CONFIG, "%.60s: no option has this environment variable%s", name,
		       suggest_text(&near));
}

bool config_read_env(struct config *c, char *const *envp, struct err *e)
{
	for (; *envp; envp++) {
		char *equals = strchr(*envp, '=');
		const char *rest = *envp;
		if (!equals || !skip_prefix(&rest, "OUTBOXD_"))
			continue;
		auto_free char *name = mem_strndup(*envp, (size_t)(equals - *envp));
		if (!is_foreign_variable(name) && !set_variable(c, name, equals + 1, e))
			return false;
	}
	return true;
}

// Flags

// In the forms that libpq reads: postgresql://user:password@..., and password= as a key or a parameter of the
// URI. May see one where there is none; must not miss one, for anybody can read the flags of a process.
static bool has_password(const char *dsn)
{
	const char *rest = dsn;
	if (skip_prefix(&rest, "postgresql://") || skip_prefix(&rest, "postgres://")) {
		size_t len = strcspn(rest, "@/");
		if (rest[len] == '@' && memchr(rest, ':', len))
			return true;
	}
	for (const char *s = dsn; (s = strstr(s, "password"));) {
		s += strlen("password");
		if (s[strspn(s, " \t\n\v\f\r")] == '=')
			return true;
	}
	return false;
}

static size_t find_flag(const char *name, struct suggest *near)
{
	size_t i = 0;
	for (; i < OPTION_COUNT; i++) {
		char known[OPTION_NAME_SIZE];
		option_flag_name(&options[i], known);
		if (!strcmp(known, name))
			break;
		suggest_offer(near, known);
	}
	return i;
}

static bool refuse_flag(const char *name, const char *why, struct err *e)
{
	return err_set(e, ERR_USAGE, "--%s: %s", name, why);
}

bool config_set_flag(struct config *c, const char *name, const char *value, bool *ret_known, struct err *e)
{
	struct suggest near;
	suggest_init(&near, name);
	size_t i = find_flag(name, &near);
	*ret_known = i < OPTION_COUNT;
	if (!*ret_known)
		return err_set(e, ERR_USAGE, "--%.60s: no such flag%s", name, suggest_text(&near));
	if (!value && options[i].type == OPT_BOOL)
		value = "true";
	if (!value)
		return refuse_flag(name, "needs a value", e);
	if ((options[i].flags & OPTF_SECRET) && has_password(value))
		return refuse_flag(
			name,
			"a password in a flag can be read by every user of the machine; put it into "
			"the configuration file, the environment or the file of PGPASSFILE",
			e);
	struct err why;
	return set(c, i, value, ORIGIN_FLAG, 0, &why) || refuse_flag(name, why.text, e);
}

bool config_flag_exists(const char *name)
{
	struct suggest near;
	suggest_init(&near, "");
	return find_flag(name, &near) < OPTION_COUNT;
}

bool config_flag_is_bool(const char *name)
{
	struct suggest near;
	suggest_init(&near, "");
	size_t i = find_flag(name, &near);
	return i < OPTION_COUNT && options[i].type == OPT_BOOL;
}

const char *config_path(const struct config *c)
{
	return c->state->path;
}

enum origin config_origin(const struct config *c, const char *section, const char *key)
{
	size_t i = find(section, key);
	assert(i < OPTION_COUNT);
	return c->state->slots[i].origin;
}
