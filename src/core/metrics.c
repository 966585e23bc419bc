// SPDX-License-Identifier: MIT
#include "core/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum metric_type { INFO, COUNTER, GAUGE, HISTOGRAM };

static const struct family {
	enum metric_type type;
	const char *name, *label, *values, *help;
} families[METRIC_COUNT_] = {
#define METRIC(id, type, name, label, values, help) { type, name, label, values, help },
#include "core/metrics.def"
#undef METRIC
};
static const char *const type_names[] = { "info", "counter", "gauge", "histogram" };

// The n-th of "a|b|c"; NULL = there are fewer.
static const char *nth(const char *list, int n, int *ret_len)
{
	const char *p = list;

	for (int i = 0; i < n; i++) {
		p = strchr(p, '|');
		if (!p)
			return NULL;
		p++;
	}
	*ret_len = (int)strcspn(p, "|");
	return *ret_len ? p : NULL;
}

const char *metrics_label(enum metric which, int series, int *ret_len)
{
	return nth(families[which].values, series, ret_len);
}

void metrics_init(struct metrics *m, const char *version)
{
	*m = (struct metrics){ .version = version };
}

void metrics_set(struct metrics *m, enum metric which, int series, double v)
{
	assert(series >= 0 && series < METRIC_SERIES_MAX);
	m->value[which][series] = v;
}

void metrics_add(struct metrics *m, enum metric which, int series, double v)
{
	metrics_set(m, which, series, m->value[which][series] + v);
}

double metrics_get(const struct metrics *m, enum metric which, int series)
{
	return m->value[which][series];
}

// Parsed once: a histogram is fed once per event.
static const double *bounds_of(enum metric which, int *ret_count)
{
	static double bounds[METRIC_COUNT_][METRIC_SERIES_MAX];
	static int counts[METRIC_COUNT_];
	int len;

	if (counts[which] == 0) {
		const char *text;

		while ((text = nth(families[which].values, counts[which], &len)))
			bounds[which][counts[which]++] = strtod(text, NULL);
		assert(counts[which] > 0 && counts[which] < METRIC_SERIES_MAX);
	}
	*ret_count = counts[which];
	return bounds[which];
}

void metrics_observe(struct metrics *m, enum metric which, double v)
{
	int n, i = 0;
	const double *bounds = bounds_of(which, &n);

	while (i < n && v > bounds[i])
		i++;
	m->value[which][i]++;
	m->sum[which] += v;
}

void metrics_counts(const struct metrics *m, enum metric which, struct histogram_counts *ret)
{
	memcpy(ret->count, m->value[which], sizeof(ret->count));
}

double metrics_quantile(const struct metrics *m, enum metric which, const struct histogram_counts *since,
			double q)
{
	double total = 0, below = 0;
	int n;
	const double *bounds = bounds_of(which, &n);

	for (int i = 0; i <= n; i++)
		total += m->value[which][i] - since->count[i];
	if (total <= 0)
		return -1;
	for (int i = 0; i < n; i++) {
		double here = m->value[which][i] - since->count[i], low = i ? bounds[i - 1] : 0;

		if (here > 0 && below + here >= q * total)
			return low + (bounds[i] - low) * (q * total - below) / here;
		below += here;
	}
	return bounds[n - 1];
}

// Shortest form that reads back the same for counts; enough digits for the rest.
static void put_value(struct buf *out, double v)
{
	buf_addf(out, " %.15g\n", v);
}

static void print_plain(const struct metrics *m, enum metric which, const char *suffix, struct buf *out)
{
	const struct family *f = &families[which];
	const char *text;
	int len;

	if (!*f->label) {
		if (isnan(m->value[which][0]))
			return;
		buf_addf(out, "%s%s", f->name, suffix);
		put_value(out, m->value[which][0]);
		return;
	}
	for (int i = 0; (text = nth(f->values, i, &len)); i++) {
		buf_addf(out, "%s%s{%s=\"%.*s\"}", f->name, suffix, f->label, len, text);
		put_value(out, m->value[which][i]);
	}
}

static void print_histogram(const struct metrics *m, enum metric which, struct buf *out)
{
	const char *name = families[which].name, *text;
	double below = 0;
	int len, i;

	for (i = 0; (text = nth(families[which].values, i, &len)); i++) {
		below += m->value[which][i];
		// OpenMetrics wants a bound to look like a float.
		buf_addf(out, "%s_bucket{le=\"%.*s%s\"}", name, len, text,
			 memchr(text, '.', (size_t)len) ? "" : ".0");
		put_value(out, below);
	}
	below += m->value[which][i];
	buf_addf(out, "%s_bucket{le=\"+Inf\"}", name);
	put_value(out, below);
	buf_addf(out, "%s_sum", name);
	put_value(out, m->sum[which]);
	buf_addf(out, "%s_count", name);
	put_value(out, below);
}

static void print_family(const struct metrics *m, enum metric which, bool openmetrics, struct buf *out)
{
	const struct family *f = &families[which];
	// The older format names the sample, knows no info, and would take any suffix for part of the name.
	const char *suffix = f->type == COUNTER ? "_total" : f->type == INFO ? "_info" : "";
	const char *head = openmetrics ? "" : suffix;
	const char *type = f->type == INFO && !openmetrics ? "gauge" : type_names[f->type];

	buf_addf(out, "# HELP %s%s %s\n# TYPE %s%s %s\n", f->name, head, f->help, f->name, head, type);
	if (f->type == HISTOGRAM) {
		print_histogram(m, which, out);
	} else if (f->type == INFO) {
		buf_addf(out, "%s%s{%s=\"%s\"}", f->name, suffix, f->label, m->version);
		put_value(out, 1);
	} else {
		print_plain(m, which, suffix, out);
	}
}

void metrics_print(const struct metrics *m, bool openmetrics, struct buf *out)
{
	for (int i = 0; i < METRIC_COUNT_; i++)
		print_family(m, (enum metric)i, openmetrics, out);
	if (openmetrics)
		buf_adds(out, "# EOF\n");
}

void metrics_print_reference(FILE *out)
{
	fputs("# Metrics\n\nWhat `GET /metrics` of the admin interface prints; written by `outboxd config metrics`.\n\n"
	      "| name | type | labels or buckets | meaning |\n|---|---|---|---|\n",
	      out);
	for (int i = 0; i < METRIC_COUNT_; i++) {
		const struct family *f = &families[i];

		fprintf(out, "| `%s%s` | %s | ", f->name,
			f->type == COUNTER ? "_total"
			: f->type == INFO  ? "_info"
					   : "",
			type_names[f->type]);
		fprintf(out, *f->label ? "`%s`: " : "%s", f->label);
		for (const char *p = f->values; *p; p++)
			fputs(*p == '|' ? ", " : (char[]){ *p, '\0' }, out);
		fprintf(out, " | %s |\n", f->help);
	}
}
