// SPDX-License-Identifier: MIT
#include "core/circuit.h"

#include "base/mem.h"

#include <assert.h>
#include <string.h>

// So many claims without an event of a paused index: none is left.
#define LOOKS_MIN 20

void circuit_init(struct circuit *c, int64_t base_ms, int64_t cap_ms)
{
	*c = (struct circuit){ .backoff = { .base_ms = base_ms, .cap_ms = cap_ms } };
}

bool circuit_is_untested(const struct circuit *c)
{
	return c->open && c->failures == 0;
}

bool circuit_failed(struct circuit *c, int64_t now_ms, int64_t at_least_ms, struct rng *rng)
{
	bool opened = !c->open || circuit_is_untested(c);

	if (opened) {
		c->opened_ms = now_ms;
		c->failures = 0;
	}
	c->failures++;
	// Others that were under way when it opened say the same once more: no further step for that.
	if (!opened && !c->probing && now_ms < c->until_ms)
		return false;
	c->open = true;
	c->probing = false;
	c->until_ms = now_ms + backoff_next(&c->backoff, rng, at_least_ms);
	return opened;
}

bool circuit_succeeded(struct circuit *c)
{
	bool closed = c->open && c->failures > 0;

	c->open = c->probing = false;
	backoff_reset(&c->backoff);
	return closed;
}

bool circuit_may_probe(const struct circuit *c, int64_t now_ms)
{
	return c->open && !c->probing && now_ms >= c->until_ms;
}

void circuit_probe_ended(struct circuit *c)
{
	c->probing = false;
}

static void forget(struct paused_indexes *p, int i)
{
	free(p->item[i].name);
	free(p->item[i].why);
	p->item[i] = p->item[--p->count];
}

void paused_done(struct paused_indexes *p)
{
	while (p->count > 0)
		forget(p, p->count - 1);
}

static int find(const struct paused_indexes *p, const char *name, size_t len)
{
	for (int i = 0; i < p->count; i++) {
		if (strlen(p->item[i].name) == len && memcmp(p->item[i].name, name, len) == 0)
			return i;
	}
	return -1;
}

bool paused_is_full(const struct paused_indexes *p, const char *name)
{
	return p->count == PAUSED_INDEXES_MAX && find(p, name, strlen(name)) < 0;
}

bool paused_add(struct paused_indexes *p, const char *name, const char *why, int64_t now_ms, int64_t base_ms,
		int64_t cap_ms, struct rng *rng)
{
	int i = find(p, name, strlen(name));
	bool added = i < 0;

	if (added) {
		assert(p->count < PAUSED_INDEXES_MAX);
		i = p->count++;
		p->item[i] = (struct paused_index){ .name = mem_strdup(name), .why = mem_strdup(why) };
		circuit_init(&p->item[i].circuit, base_ms, cap_ms);
	}
	p->item[i].looks = 0;
	// Many rows of one answer say the same: only the first moves the wait.
	if (added || now_ms >= p->item[i].circuit.until_ms)
		circuit_failed(&p->item[i].circuit, now_ms, -1, rng);
	return added;
}

int paused_names(const struct paused_indexes *p, int64_t now_ms, const char *ret_names[PAUSED_INDEXES_MAX])
{
	int n = 0;

	for (int i = 0; i < p->count; i++) {
		if (now_ms < p->item[i].circuit.until_ms)
			ret_names[n++] = p->item[i].name;
	}
	return n;
}

bool paused_remove(struct paused_indexes *p, const char *name, size_t len, struct circuit *ret_was)
{
	int i = find(p, name, len);

	if (i < 0)
		return false;
	*ret_was = p->item[i].circuit;
	forget(p, i);
	return true;
}

void paused_looked(struct paused_indexes *p, int64_t began_ms)
{
	for (int i = 0; i < p->count; i++)
		p->item[i].looks += began_ms >= p->item[i].circuit.until_ms;
}

char *paused_take_idle(struct paused_indexes *p, int64_t now_ms, int64_t idle_ms)
{
	for (int i = 0; i < p->count; i++) {
		char *name;

		if (now_ms < p->item[i].circuit.until_ms + idle_ms || p->item[i].looks < LOOKS_MIN)
			continue;
		name = mem_strdup(p->item[i].name);
		forget(p, i);
		return name;
	}
	return NULL;
}

bool paused_due(struct paused_indexes *p, int64_t now_ms)
{
	bool due = false;

	for (int i = 0; i < p->count; i++) {
		if (!circuit_may_probe(&p->item[i].circuit, now_ms))
			continue;
		p->item[i].circuit.probing = true; // until it fails again or is forgotten
		due = true;
	}
	return due;
}

int64_t paused_next_probe(const struct paused_indexes *p, int64_t now_ms)
{
	int64_t next = INT64_MAX;

	for (int i = 0; i < p->count; i++) {
		if (p->item[i].circuit.until_ms > now_ms && p->item[i].circuit.until_ms < next)
			next = p->item[i].circuit.until_ms;
	}
	return next;
}
