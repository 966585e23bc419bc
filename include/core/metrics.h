// SPDX-License-Identifier: MIT
// Numbers about the relay, from one list (metrics.def): stored here, printed for Prometheus and for docs/METRICS.md.
#ifndef OUTBOXD_CORE_METRICS_H
#define OUTBOXD_CORE_METRICS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum metric {
#define METRIC(id, type, name, label, values, help) METRIC_##id,
#include "core/metrics.def"
#undef METRIC
	METRIC_COUNT_
};

// The labels of METRIC_BULK and METRIC_ERRORS, in the order of metrics.def. The others: enum fate, enum worker_state.
enum bulk_outcome { BULK_ACCEPTED, BULK_SPLIT, BULK_REFUSED, BULK_FAILED };
enum trouble_kind {
	TROUBLE_ELASTICSEARCH,
	TROUBLE_POSTGRES,
	TROUBLE_SQL,
	TROUBLE_BUSY,
	TROUBLE_INDEX,
	TROUBLE_TABLE,
	TROUBLE_FUTURE,
	TROUBLE_PURGE,
	TROUBLE_COUNTING,
	TROUBLE_VERIFY,
	TROUBLE_COUNT_
};
enum { SERVER_POSTGRES, SERVER_ELASTICSEARCH };
enum { PARTITIONS_CREATED, PARTITIONS_DROPPED };

#define METRIC_SERIES_MAX 20 // label values or buckets of one metric

struct metrics {
	const char *version; // borrowed
	// By metric: a value per label, or the events in each bucket (not cumulated; the last one is above all bounds).
	double value[METRIC_COUNT_][METRIC_SERIES_MAX];
	double sum[METRIC_COUNT_]; // of a histogram's observations
};

void metrics_init(struct metrics *m, const char *version);
// series: number of the label's value; 0 for a metric without label.
// NAN = not known: a gauge without a label is left out then.
void metrics_set(struct metrics *m, enum metric which, int series, double v);
void metrics_add(struct metrics *m, enum metric which, int series, double v);
double metrics_get(const struct metrics *m, enum metric which, int series);
void metrics_observe(struct metrics *m, enum metric which, double v);

// Copies the counts of a histogram, for metrics_quantile later.
struct histogram_counts {
	double count[METRIC_SERIES_MAX];
};
void metrics_counts(const struct metrics *m, enum metric which, struct histogram_counts *ret);
// The value below which a share q (0..1) of the observations since `since` lie, interpolated in its bucket; -1 = there were
// none.
double metrics_quantile(const struct metrics *m, enum metric which, const struct histogram_counts *since,
			double q);

const char *metrics_label(enum metric which, int series, int *ret_len); // NULL = no such series
// Prometheus text format 0.0.4, or OpenMetrics 1.0.
void metrics_print(const struct metrics *m, bool openmetrics, struct buf *out);
void metrics_print_reference(FILE *out); // docs/METRICS.md

#endif
