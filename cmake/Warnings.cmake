# SPDX-License-Identifier: MIT
# Chosen so that our code and the headers of our libraries give none of them; presets make them errors.
target_compile_options(flags INTERFACE
	-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wformat=2 -Wundef -Wvla
	-Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wnull-dereference
	$<$<C_COMPILER_ID:GNU>:-Wduplicated-cond>
	$<$<C_COMPILER_ID:GNU>:-Wlogical-op>)
