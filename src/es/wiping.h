// SPDX-License-Identifier: MIT
// Private to http.c: libcurl with memory that is overwritten before it is freed. It copies credentials into requests,
// handles and buffers; after a rotation the old ones must not stay behind in freed memory.
#ifndef OUTBOXD_ES_WIPING_H
#define OUTBOXD_ES_WIPING_H

void wiping_start(void); // instead of curl_global_init; counted, like it

#endif
