// SPDX-License-Identifier: MIT
// A loop, a scripted server, an http object and one call whose last reply is kept.
#ifndef OUTBOXD_TESTS_HTTP_FIXTURE_H
#define OUTBOXD_TESTS_HTTP_FIXTURE_H

#include "base/attr.h"
#include "es/http.h"
#include "fake_server.h"

struct http_fixture {
	struct ev_loop *loop;
	struct fake_server *server;
	struct http *http;
	struct http_call *call;
	char url[64];
	// The last reply; texts are copies.
	size_t replies;
	struct http_reply reply;
	char body[256];
	char fault_text[256];
	char location[256];
};

// The settings are changed in place (url) and borrowed. Null settings = plain ones.
void http_fixture_up(struct http_fixture *f, const struct fake_step *steps, size_t count,
		     struct http_settings *settings);
void http_fixture_down(struct http_fixture *f);
struct http_settings http_fixture_settings(void);

http_callback http_fixture_reply; // arg is the fixture
void http_fixture_post(struct http_fixture *f, const char *body);
void http_fixture_wait(struct http_fixture *f);        // for one more reply; fails after 10 s
void http_fixture_run(struct http_fixture *f, int ms); // the loop, whatever happens
void http_fixture_step(struct http_fixture *f);        // one turn of the loop
void http_fixture_freeze(int ms);                      // nothing runs

// The whole of a 200 answer.
#define OK_REPLY "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

#endif
