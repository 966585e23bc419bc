// SPDX-License-Identifier: MIT
// What config.c remembers for config_check.c and config_print.c. Private to these.
#ifndef OUTBOXD_BASE_CONFIG_STATE_H
#define OUTBOXD_BASE_CONFIG_STATE_H

#include "options.h"

struct config_slot {
	enum origin origin;
	int line;   // for ORIGIN_FILE
	char *text; // owned copy of a text that is not the default
};

struct config_state {
	char *path; // of the file that was read, or NULL
	struct config_slot slots[OPTION_COUNT];
};

// Adds where the value of an option comes from: "/etc/outboxd/outboxd.conf:12", "OUTBOXD_RELAY_WORKERS",
// "--relay-workers" or "default".
void config_add_place(const struct config *c, size_t index, struct buf *out);

#endif
