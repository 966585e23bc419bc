// SPDX-License-Identifier: MIT
// libpq and libcurl keep copies of passwords and tokens that we cannot overwrite, and documents pass through: so nobody
// but root looks into our memory, and none of it is written to a disk when we die.
#ifndef OUTBOXD_BASE_PROTECT_H
#define OUTBOXD_BASE_PROTECT_H

void protect_memory(void); // once, first of all

#endif
