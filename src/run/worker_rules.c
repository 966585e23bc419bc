// SPDX-License-Identifier: MIT
// The life of a worker. `outboxd config fsm` prints this table as a diagram (docs/STATE-MACHINES.md).
#include "run/diagram.h"
#include "run/machine.h"

const struct worker_rule worker_rules[] = {
	{ W_OFFLINE, E_CONNECT, W_CONNECTING, worker_act_connect },
	{ W_CONNECTING, E_UP, W_INSPECTING, worker_act_inspect },
	{ W_CONNECTING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_INSPECTING, E_FIT, W_IDLE, worker_act_rest },
	{ W_INSPECTING, E_UNFIT, W_OFFLINE, worker_act_leave },
	{ W_INSPECTING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_INSPECTING, E_TIMEOUT, W_OFFLINE, worker_act_drop },

	{ W_IDLE, E_GO, W_CLAIMING, worker_act_claim },
	{ W_IDLE, E_PROBE, W_PROBING, worker_act_probe },
	{ W_IDLE, E_CHECK, W_CHECKING, worker_act_check },
	{ W_IDLE, E_WAKE, W_WAKING, worker_act_wake },
	{ W_WAKING, E_CHECKED, W_IDLE, worker_act_rest },
	{ W_WAKING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_WAKING, E_TIMEOUT, W_OFFLINE, worker_act_drop },
	{ W_IDLE, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_CHECKING, E_CHECKED, W_IDLE, worker_act_rest },
	{ W_CHECKING, E_SQL_FAILED, W_IDLE, worker_act_rest },
	{ W_CHECKING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_CHECKING, E_TIMEOUT, W_OFFLINE, worker_act_drop },
	{ W_PROBING, E_ALIVE, W_CLAIMING, worker_act_claim },
	{ W_PROBING, E_NO_SIGN, W_IDLE, worker_act_rest },
	{ W_PROBING, E_HELD, W_IDLE, worker_act_rest },
	{ W_PROBING, E_DOWN, W_OFFLINE, worker_act_retreat },

	{ W_CLAIMING, E_SEND, W_SENDING, worker_act_send },
	{ W_CLAIMING, E_READ, W_READING, worker_act_read },
	{ W_CLAIMING, E_MORE_ROWS, W_CLAIMING, worker_act_resume },
	{ W_CLAIMING, E_DISCARD, W_DISCARDING, worker_act_resume },
	{ W_CLAIMING, E_SETTLE, W_SETTLING, worker_act_settle },
	{ W_CLAIMING, E_RELEASE, W_ROLLING_BACK, worker_act_rollback },
	{ W_CLAIMING, E_SQL_FAILED, W_ROLLING_BACK, worker_act_rollback },
	{ W_CLAIMING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_CLAIMING, E_TIMEOUT, W_OFFLINE, worker_act_drop },

	{ W_READING, E_SEND, W_SENDING, worker_act_send },
	{ W_READING, E_READ, W_READING, worker_act_read },
	{ W_READING, E_MORE_ROWS, W_CLAIMING, worker_act_resume },
	{ W_READING, E_DISCARD, W_DISCARDING, worker_act_resume },
	{ W_READING, E_SETTLE, W_SETTLING, worker_act_settle },
	{ W_READING, E_RELEASE, W_ROLLING_BACK, worker_act_rollback },
	{ W_READING, E_DOWN, W_OFFLINE, worker_act_retreat },

	{ W_SENDING, E_SEND, W_SENDING, worker_act_send },
	{ W_SENDING, E_READ, W_READING, worker_act_read },
	{ W_SENDING, E_MORE_ROWS, W_CLAIMING, worker_act_resume },
	{ W_SENDING, E_DISCARD, W_DISCARDING, worker_act_resume },
	{ W_SENDING, E_SETTLE, W_SETTLING, worker_act_settle },
	{ W_SENDING, E_RELEASE, W_ROLLING_BACK, worker_act_rollback },
	{ W_SENDING, E_DOWN, W_OFFLINE, worker_act_retreat },

	{ W_DISCARDING, E_SETTLE, W_SETTLING, worker_act_settle },
	{ W_DISCARDING, E_RELEASE, W_ROLLING_BACK, worker_act_rollback },
	{ W_DISCARDING, E_SQL_FAILED, W_ROLLING_BACK, worker_act_rollback },
	{ W_DISCARDING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_DISCARDING, E_TIMEOUT, W_OFFLINE, worker_act_drop },

	{ W_SETTLING, E_SETTLED, W_IDLE, worker_act_finish },
	{ W_SETTLING, E_SQL_FAILED, W_ROLLING_BACK, worker_act_rollback },
	{ W_SETTLING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_SETTLING, E_TIMEOUT, W_OFFLINE, worker_act_drop },

	{ W_ROLLING_BACK, E_RELEASED, W_IDLE, worker_act_finish },
	{ W_ROLLING_BACK, E_LOOK, W_INSPECTING, worker_act_look },
	{ W_ROLLING_BACK, E_SIEVE, W_SIEVING, worker_act_sieve },
	{ W_ROLLING_BACK, E_SQL_FAILED, W_OFFLINE, worker_act_drop },
	{ W_ROLLING_BACK, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_ROLLING_BACK, E_TIMEOUT, W_OFFLINE, worker_act_drop },

	{ W_SIEVING, E_SETTLED, W_IDLE, worker_act_finish },
	{ W_SIEVING, E_SQL_FAILED, W_ROLLING_BACK, worker_act_rollback },
	{ W_SIEVING, E_DOWN, W_OFFLINE, worker_act_retreat },
	{ W_SIEVING, E_TIMEOUT, W_OFFLINE, worker_act_drop },
};
const size_t worker_rule_count = array_len(worker_rules);

const struct worker_rule *worker_find_rule(enum worker_state from, enum worker_event on)
{
	for (size_t i = 0; i < worker_rule_count; i++) {
		if (worker_rules[i].from == from && worker_rules[i].on == on)
			return &worker_rules[i];
	}
	return NULL;
}

const char *worker_state_text(enum worker_state s)
{
#define X(name, timeout) [W_##name] = #name,
	static const char *const names[] = { WORKER_STATES(X) };
#undef X
	return names[s];
}

const char *worker_event_text(enum worker_event e)
{
#define X(name) [E_##name] = #name,
	static const char *const names[] = { WORKER_EVENTS(X) };
#undef X
	return names[e];
}

void worker_print_fsm(FILE *out)
{
	struct arrow arrows[array_len(worker_rules)];

	for (size_t i = 0; i < array_len(arrows); i++)
		arrows[i] = (struct arrow){ .from = worker_state_text(worker_rules[i].from),
					    .to = worker_state_text(worker_rules[i].to),
					    .on = worker_event_text(worker_rules[i].on) };
	diagram_print(out, arrows, array_len(arrows));
}
