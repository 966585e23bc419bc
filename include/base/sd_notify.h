// SPDX-License-Identifier: MIT
// systemd's notification protocol, without its library: datagrams of NAME=value lines to the socket that $NOTIFY_SOCKET
// names. No variable: nothing happens. Nothing here blocks, and nobody needs to care whether a message arrived.
#ifndef OUTBOXD_BASE_SD_NOTIFY_H
#define OUTBOXD_BASE_SD_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

// lines: "READY=1" or several lines, sent as they are. status ("" = none) is added as the line STATUS=, on one line and at
// most 511 bytes long whatever it holds: it may quote what a server said. False when the message was not sent: there is
// no socket, or its queue is full.
bool sd_notify(const char *lines, const char *status);

// The service manager expects WATCHDOG=1 at least so often (microseconds); 0 = it does not, or not from this process.
int64_t sd_watchdog_us(void);

#endif
