// SPDX-License-Identifier: MIT
// A command that must not be torn apart: Ctrl-C and TERM only ask, a second one of a kind ends the program.
#ifndef OUTBOXD_CMD_INTERRUPT_H
#define OUTBOXD_CMD_INTERRUPT_H

#include <stdbool.h>

void interrupt_catch(void); // from now on
bool interrupt_came(void);
void interrupt_forget(void); // what follows takes its own time

#endif
