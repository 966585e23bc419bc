# SPDX-License-Identifier: MIT
# The preset `release` switches this on. -O2 comes from the build type: _FORTIFY_SOURCE needs it.
include(CheckCCompilerFlag)
check_c_compiler_flag(-fcf-protection=full OUTBOXD_HAS_CF_PROTECTION) # x86 only
check_c_compiler_flag(-fstack-clash-protection OUTBOXD_HAS_STACK_CLASH_PROTECTION)

if(OUTBOXD_HARDENING)
	target_compile_options(flags INTERFACE
		-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
		-fstack-protector-strong
		-ftrivial-auto-var-init=zero
		-fPIE
		$<$<BOOL:${OUTBOXD_HAS_CF_PROTECTION}>:-fcf-protection=full>
		$<$<BOOL:${OUTBOXD_HAS_STACK_CLASH_PROTECTION}>:-fstack-clash-protection>)
	target_link_options(flags INTERFACE -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
endif()
