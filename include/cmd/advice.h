// SPDX-License-Identifier: MIT
// How to mend an event that was given up.
#ifndef OUTBOXD_CMD_ADVICE_H
#define OUTBOXD_CMD_ADVICE_H

const char *advice_for(const char *type); // of the error; may be NULL. Never NULL: there is a general one

#endif
