// SPDX-License-Identifier: MIT
// An HTTP server that does what a script says, in the loop of the test. The n-th request that comes, on whatever
// connection, gets the n-th step.
#ifndef OUTBOXD_TESTS_FAKE_SERVER_H
#define OUTBOXD_TESTS_FAKE_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct ev_loop;
struct fake_server;

enum fake_end { FAKE_KEEP, FAKE_CLOSE, FAKE_RESET };

struct fake_step {
	const char *reply; // raw bytes; NULL = not a byte
	bool early;        // do not wait for the body, and do not read it
	bool drip;         // one byte every 20 ms
	enum fake_end end;
};

// steps are borrowed; a request after the last of them is left without an answer.
struct fake_server *fake_server_new(struct ev_loop *loop, const struct fake_step *steps, size_t count);
void fake_server_free(struct fake_server *s);

int fake_server_port(const struct fake_server *s);
void fake_server_stop_listening(struct fake_server *s);
// Goes on reading where a step was `early`.
void fake_server_read_on(struct fake_server *s);

size_t fake_server_connections(const struct fake_server *s); // accepted so far
size_t fake_server_requests(const struct fake_server *s);    // that got a step
size_t fake_server_bytes(const struct fake_server *s);       // read, all requests together
// Head and body of the last complete request, NUL-terminated.
const char *fake_server_head(const struct fake_server *s);
const char *fake_server_body(const struct fake_server *s, size_t *ret_len);

#endif
