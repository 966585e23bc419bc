// SPDX-License-Identifier: MIT
// What systemd is told: that the relay runs, how it is doing, that its loop turns, and that it stops.
#ifndef OUTBOXD_RUN_SERVICE_H
#define OUTBOXD_RUN_SERVICE_H

struct relay;
struct service;

struct service *service_new(struct relay *r); // READY is said in the first turn of the loop
void service_free(struct service *s);
void service_stopping(struct service *s); // a signal came, the drain begins
// Something comes that may block the loop for a while: libpq looks names up before it returns, and a silent name server
// costs 10 s each time. Workers that connect one after the other must not look like a loop that hangs.
void service_beat(struct service *s);

#endif
