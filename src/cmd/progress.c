// SPDX-License-Identifier: MIT
#include "cmd/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DRAW_MS 100
#define LINE_MS 5000
#define BAR 20
#define RATE_AFTER_MS 500 // a rate of less than that is noise

bool progress_on_terminal(void)
{
	return isatty(STDERR_FILENO) == 1;
}

void progress_start(struct progress *p, const char *what, int64_t total)
{
	int64_t now_ms = clock_boot_ms();

	*p = (struct progress){
		.what = what,
		.total = total,
		.terminal = progress_on_terminal(),
		.started_ms = now_ms,
	};
	// A bar at once; a plain line only when it takes long.
	p->shown_ms = p->terminal ? 0 : now_ms;
	progress_show(p, 0);
}

static void put_bar(int64_t done, int64_t total)
{
	int full = total > 0 ? (int)(done * BAR / total) : BAR;

	fputs(" [", stderr);
	for (int i = 0; i < BAR; i++)
		fputc(i < full ? '#' : '-', stderr);
	fprintf(stderr, "] %3d%%", total > 0 ? (int)(done * 100 / total) : 100);
}

static void put_left(double seconds)
{
	int64_t s = (int64_t)(seconds + 0.5);

	if (s >= 3600)
		fprintf(stderr, ", %lld:%02lld:%02lld left", (long long)(s / 3600), (long long)(s / 60 % 60),
			(long long)(s % 60));
	else
		fprintf(stderr, ", %lld:%02lld left", (long long)(s / 60), (long long)(s % 60));
}

void progress_show(struct progress *p, int64_t done)
{
	int64_t now_ms = clock_boot_ms(), total = p->total;
	double rate = (double)done * 1000.0 / (double)(now_ms - p->started_ms + 1);

	if (now_ms - p->shown_ms < (p->terminal ? DRAW_MS : LINE_MS))
		return;
	p->shown_ms = now_ms;
	if (total >= 0 && done > total)
		total = done; // more came while it went on
	fputs(p->what, stderr);
	if (p->terminal && total >= 0)
		put_bar(done, total);
	fprintf(stderr, " %lld", (long long)done);
	if (total >= 0)
		fprintf(stderr, "/%lld", (long long)total);
	if (done > 0 && now_ms - p->started_ms >= RATE_AFTER_MS) {
		fprintf(stderr, ", %.0f/s", rate);
		if (total >= 0 && rate > 0)
			put_left((double)(total - done) / rate);
	}
	// The cursor goes back to the start: a line of the log that comes between is written over the bar.
	fputs(p->terminal ? "\033[K\r" : "\n", stderr);
	fflush(stderr);
}

void progress_end(struct progress *p)
{
	if (p->terminal)
		fputs("\033[K", stderr);
}
