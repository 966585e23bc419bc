// SPDX-License-Identifier: MIT
// For hardening.py: the smallest program that shows all that it looks for, when it is built right.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wipe(char *secret, size_t len);

__attribute__((noinline)) void wipe(char *secret, size_t len)
{
#ifdef ELIDED
	memset(secret, 0, len); // nobody looks at it again, so the compiler leaves it out
#else
	explicit_bzero(secret, len);
#endif
	free(secret);
}

#ifdef TEXTREL
__asm__(".text\n.quad stdout\n");
#endif

#ifdef WRITABLE_CODE
__asm__(".section .both,\"awx\",@progbits\n.long 1\n.text\n");
#endif

int main(int argc, char **argv)
{
	char line[16];

	snprintf(line, (size_t)argc + 8, "%s", argv[0]);
	memcpy(line, argv[0], strlen(argv[0]) % (size_t)(argc + 8));
	puts(line);
	wipe(strdup(line), 1);
	return 0;
}
