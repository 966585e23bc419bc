// SPDX-License-Identifier: MIT
// Whatever a server says, an event counts as delivered only for the answers that docs/VERDICTS.md lists.
// Fields: status, letters ('a' alone, 'f' fault, 'l' too large, 'r' readable), type, reason.
#include "base/parse.h"
#include "core/verdict.h"
#include "fuzz.h"

static bool has(const char *letters, char letter)
{
	return strchr(letters, letter) != NULL;
}

static void check_item(const struct item_facts *f)
{
	enum verdict v = verdict_item(f).verdict;
	bool plain = f->type[0] == '\0';
	bool conflict = f->status == 409 &&
			(plain || strcmp(f->type, "version_conflict_engine_exception") == 0);

	switch (v) {
	case VERDICT_DONE:
		check((f->status >= 200 && f->status <= 299) ||
		      (f->status == 404 && f->op == OP_DELETE && plain) || (conflict && f->op == OP_CREATE));
		break;
	case VERDICT_SUPERSEDED:
		check(conflict && f->op != OP_CREATE);
		break;
	case VERDICT_DEAD: // never for an outage
		check(f->status == 400 || f->status == 429 || f->status == 500);
		check(f->status != 429 || f->alone);
		break;
	case VERDICT_SOLO:
		check(!f->alone);
		break;
	case VERDICT_RETRY_ITEM:
	case VERDICT_ATTEMPT:
	case VERDICT_PAUSE_INDEX:
		break;
	case VERDICT_SERVER:
		check(f->status >= 500 && f->status <= 599);
		break;
	case VERDICT_ASIDE:
	case VERDICT_NONE:
	case VERDICT_RETRY_REQUEST:
	case VERDICT_PAUSE_ALL:
	case VERDICT_SPLIT:
	case VERDICT_FUTURE:
	case VERDICT_COUNT_:
	default:
		check(v == VERDICT_DONE); // no verdict of an item
	}
	check(verdict_name(v)[0] != '?');
}

static void check_request(const struct request_facts *f)
{
	enum verdict v = verdict_request(f).verdict;

	check(v == VERDICT_DONE || v == VERDICT_RETRY_REQUEST || v == VERDICT_PAUSE_ALL ||
	      v == VERDICT_SPLIT || v == VERDICT_DEAD || v == VERDICT_PAUSE_INDEX);
	check(v != VERDICT_DONE || (f->status == 200 && f->readable && !f->fault && !f->too_large_to_read));
	check(v != VERDICT_SPLIT || f->items > 1);
	check((v != VERDICT_DEAD && v != VERDICT_PAUSE_INDEX) || f->items == 1);
	check(v != VERDICT_DEAD ||
	      (!f->fault && !f->too_large_to_read && f->status >= 400 && f->status <= 499));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct feed feed = { data, size };
	size_t len;
	char *number = feed_field(&feed, &len);
	char *letters = feed_field(&feed, &len);
	char *type = feed_field(&feed, &len);
	char *reason = feed_rest(&feed, &len);
	int64_t status = 0;
	bool alone = has(letters, 'a');

	if (!parse_int(number, &status, NULL) || status < 0 || status > INT32_MAX)
		status = (int64_t)size; // 0 to 999 and more, too
	for (int op = OP_INDEX; op <= OP_DELETE; op++)
		check_item(&(struct item_facts){ (int)status, (enum op)op, type, reason, alone });
	check_request(&(struct request_facts){
		.fault = has(letters, 'f'),
		.too_large_to_read = has(letters, 'l'),
		.status = (int)status,
		.readable = has(letters, 'r'),
		.type = type,
		.reason = reason,
		.items = alone ? 1 : 2,
	});
	check(verdict_conflict_version(reason) >= -1);
	free(number);
	free(letters);
	free(type);
	free(reason);
	return 0;
}
