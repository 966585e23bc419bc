// SPDX-License-Identifier: MIT
// A null sink: takes every _bulk request and answers success for as many items as it brought, at no cost worth
// naming. What is measured against it is the relay and PostgreSQL alone.
//   outboxd_sink PORT        Prints "ready" once it listens; ends with its standard input.
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ITEMS_MAX 100000
static const char HEAD[] = "{\"errors\":false,\"items\":[";
static const char ITEM[] = "{\"index\":{\"status\":200}},";
static const char TAIL[] = "]}";
// Who asks for a sign of life learns what this is.
static char NAME[] =
	"{\"name\":\"sink\",\"version\":{\"number\":\"9.5.0\"},\"tagline\":\"You Know, for Search\"}";

// Where in the NDJSON of a request we are: an action line that is no delete is followed by a document.
struct reader {
	size_t items;
	int at;     // in the line, as far as its first bytes matter
	char third; // byte of the line: {"d is a delete
	bool is_document;
};

static void end_line(struct reader *r)
{
	r->items += !r->is_document;
	r->is_document = !r->is_document && r->third != 'd';
	r->at = 0;
}

static void read_body(struct reader *r, const char *data, size_t n)
{
	const char *end = data + n;

	while (data < end) {
		const char *stop;

		if (r->at < 3 && *data != '\n') {
			r->third = *data++;
			r->at++;
			continue;
		}
		stop = memchr(data, '\n', (size_t)(end - data));
		if (!stop)
			return;
		end_line(r);
		data = stop + 1;
	}
}

static char *answer_for(size_t items, size_t *ret_len)
{
	size_t head = sizeof(HEAD) - 1, item = sizeof(ITEM) - 1;
	char *text = malloc(head + items * item + sizeof(TAIL)), *at = text;

	if (!text)
		abort();
	at = mempcpy(at, HEAD, head);
	for (size_t i = 0; i < items; i++)
		at = mempcpy(at, ITEM, item);
	at -= items > 0; // the last comma
	at = mempcpy(at, TAIL, sizeof(TAIL) - 1);
	*ret_len = (size_t)(at - text);
	return text;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url,
			      const char *method, const char *version, const char *body, size_t *body_len,
			      void **request)
{
	struct reader *r = *request;
	struct MHD_Response *response;
	enum MHD_Result result;
	char *text = NULL;
	size_t len = 0;

	(void)arg;
	(void)url;
	(void)version;
	if (!r) {
		*request = calloc(1, sizeof(*r));
		return *request ? MHD_YES : MHD_NO;
	}
	if (*body_len > 0) {
		read_body(r, body, *body_len);
		*body_len = 0;
		return MHD_YES;
	}
	if (strcmp(method, "POST") == 0 && r->items <= ITEMS_MAX) {
		text = answer_for(r->items, &len);
		response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	} else {
		response = MHD_create_response_from_buffer(sizeof(NAME) - 1, NAME, MHD_RESPMEM_PERSISTENT);
	}
	MHD_add_response_header(response, "Content-Type", "application/json");
	MHD_add_response_header(response, "X-elastic-product", "Elasticsearch");
	result = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return result;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **request,
			 enum MHD_RequestTerminationCode why)
{
	(void)arg;
	(void)connection;
	(void)why;
	free(*request);
	*request = NULL;
}

int main(int argc, char **argv)
{
	char end;
	struct MHD_Daemon *daemon;

	if (argc != 2)
		return 64;
	daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, (uint16_t)strtoul(argv[1], NULL, 10), NULL,
				  NULL, answer, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
				  MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)1 << 18, MHD_OPTION_END);
	if (!daemon)
		return 1;
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &end, 1) > 0)
		;
	MHD_stop_daemon(daemon);
	return 0;
}
