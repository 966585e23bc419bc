// SPDX-License-Identifier: MIT
// The list of metrics: its labels are those of the enums they are indexed by, and the text is what Prometheus reads.
#include "core/batch.h"
#include "core/metrics.h"
#include "run/machine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void label_is(enum metric which, int series, const char *expected)
{
	int len;
	const char *text = metrics_label(which, series, &len);

	assert_non_null(text);
	assert_int_equal(len, strlen(expected));
	assert_memory_equal(text, expected, strlen(expected));
}

static int count_of(enum metric which)
{
	int n = 0, len;

	while (metrics_label(which, n, &len))
		n++;
	return n;
}

static void labels_follow_their_enums(void **state)
{
	(void)state;
	assert_int_equal(count_of(METRIC_EVENTS), FATE_COUNT_);
	for (int f = 0; f < FATE_COUNT_; f++)
		label_is(METRIC_EVENTS, f, fate_name((enum fate)f));
	assert_int_equal(count_of(METRIC_WORKER_STATE), W_STATE_COUNT_);
	for (int s = 0; s < W_STATE_COUNT_; s++)
		label_is(METRIC_WORKER_STATE, s, worker_state_text((enum worker_state)s));
	label_is(METRIC_BULK, BULK_FAILED, "failed");
	assert_int_equal(count_of(METRIC_BULK), BULK_FAILED + 1);
	label_is(METRIC_ERRORS, TROUBLE_PURGE, "purge_failed");
	label_is(METRIC_ERRORS, TROUBLE_COUNTING, "count_failed");
	label_is(METRIC_ERRORS, TROUBLE_VERIFY, "verify_failed");
	assert_int_equal(count_of(METRIC_ERRORS), TROUBLE_COUNT_);
	label_is(METRIC_SERVER_UP, SERVER_ELASTICSEARCH, "elasticsearch");
	for (int m = 0; m < METRIC_COUNT_; m++)
		assert_true(count_of((enum metric)m) < METRIC_SERIES_MAX);
}

static void print(const struct metrics *m, bool openmetrics, struct buf *out)
{
	buf_init(out, 1024 * 1024);
	metrics_print(m, openmetrics, out);
	assert_false(out->full);
}

static void has(const struct buf *text, const char *line)
{
	if (!strstr(buf_str(text), line))
		fail_msg("%s is not in\n%s", line, buf_str(text));
}

static void prints_both_formats(void **state)
{
	struct metrics m;
	auto_buf plain = { 0 }, open = { 0 };

	(void)state;
	metrics_init(&m, "1.2.3");
	metrics_add(&m, METRIC_EVENTS, FATE_DELIVERED, 12345678901.0);
	metrics_set(&m, METRIC_OLDEST, 0, 1.5);
	metrics_set(&m, METRIC_PENDING, 0, NAN);
	print(&m, false, &plain);
	if (strstr(buf_str(&plain), "\noutboxd_pending_events "))
		fail_msg("a value that is not known is told");
	has(&plain, "# TYPE outboxd_events_total counter\n");
	has(&plain, "outboxd_events_total{verdict=\"delivered\"} 12345678901\n");
	has(&plain, "outboxd_events_total{verdict=\"dead\"} 0\n");
	has(&plain, "# TYPE outboxd_build_info gauge\noutboxd_build_info{version=\"1.2.3\"} 1\n");
	has(&plain, "\noutboxd_oldest_pending_seconds 1.5\n");
	print(&m, true, &open);
	has(&open, "# TYPE outboxd_events counter\noutboxd_events_total{verdict=\"returned\"} 0\n");
	has(&open, "# TYPE outboxd_build info\noutboxd_build_info{version=\"1.2.3\"} 1\n");
	assert_string_equal(buf_str(&open) + open.len - 6, "# EOF\n");
}

static void buckets_are_cumulated_and_bounds_belong_to_them(void **state)
{
	struct metrics m;
	auto_buf text = { 0 };

	(void)state;
	metrics_init(&m, "1");
	metrics_observe(&m, METRIC_BULK_SECONDS, 0.001); // le = less or equal
	metrics_observe(&m, METRIC_BULK_SECONDS, 0.0011);
	metrics_observe(&m, METRIC_BULK_SECONDS, 1000);
	print(&m, false, &text);
	has(&text, "outboxd_bulk_seconds_bucket{le=\"0.001\"} 1\n");
	has(&text, "outboxd_bulk_seconds_bucket{le=\"0.002\"} 2\n");
	has(&text, "outboxd_bulk_seconds_bucket{le=\"30.0\"} 2\n");
	has(&text, "outboxd_bulk_seconds_bucket{le=\"+Inf\"} 3\n");
	has(&text, "outboxd_bulk_seconds_sum 1000.0021\n");
	has(&text, "outboxd_bulk_seconds_count 3\n");
}

static void quantiles_are_of_what_came_since(void **state)
{
	struct metrics m;
	struct histogram_counts none = { { 0 } }, then;

	(void)state;
	metrics_init(&m, "1");
	assert_true(metrics_quantile(&m, METRIC_BULK_SECONDS, &none, 0.5) < 0);
	for (int i = 0; i < 100; i++)
		metrics_observe(&m, METRIC_BULK_SECONDS, 10);
	metrics_counts(&m, METRIC_BULK_SECONDS, &then);
	for (int i = 0; i < 99; i++)
		metrics_observe(&m, METRIC_BULK_SECONDS, 0.015);
	metrics_observe(&m, METRIC_BULK_SECONDS, 0.3);

	double half = metrics_quantile(&m, METRIC_BULK_SECONDS, &then, 0.5);
	double most = metrics_quantile(&m, METRIC_BULK_SECONDS, &then, 0.999);

	assert_true(half > 0.01 && half < 0.02);
	assert_true(most > 0.25 && most <= 0.5);
	assert_true(metrics_quantile(&m, METRIC_BULK_SECONDS, &none, 0.99) > 5);
	metrics_observe(&m, METRIC_BULK_SECONDS, 1e9);
	assert_true(metrics_quantile(&m, METRIC_BULK_SECONDS, &none, 1) >=
		    30); // above all bounds: the last one
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_follow_their_enums),
		cmocka_unit_test(prints_both_formats),
		cmocka_unit_test(buckets_are_cumulated_and_bounds_belong_to_them),
		cmocka_unit_test(quantiles_are_of_what_came_since),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
