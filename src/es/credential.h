// SPDX-License-Identifier: MIT
// Private to http*.c: a secret from a file, read again when the file has changed. Memory that held one is overwritten
// before it is freed.
#ifndef OUTBOXD_ES_CREDENTIAL_H
#define OUTBOXD_ES_CREDENTIAL_H

#include "base/err.h"

#include <stdbool.h>
#include <sys/stat.h>

struct credential {
	const char *path;    // borrowed; "" = the environment (AWS only)
	bool aws;            // a credentials file of AWS; else one line of text
	struct stat seen;    // the file as it was read
	char *id;            // AWS: the access key's id
	char *secret;        // password, API key, token, or AWS' secret key
	char *session_token; // AWS, NULL = none
};

bool credential_open(struct credential *c, const char *path, bool aws, struct err *e) must_check;
// A file that cannot be read now, or is half written, leaves what we have; the next call looks again.
void credential_refresh(struct credential *c);
void credential_close(struct credential *c);

#endif
