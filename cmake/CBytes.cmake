# SPDX-License-Identifier: MIT
# c_bytes(FILE RESULT): the bytes of a file as character constants with a final zero. No content can break the C
# source, and no limit on the length of string literals applies.

function(c_bytes file ret_text)
	file(READ ${file} text HEX)
	string(REGEX REPLACE "(................................)" "\\1\n\t" text "${text}") # 16 a line
	string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," text "${text}")
	set(${ret_text} "{\n\t${text}\n\t0\n}" PARENT_SCOPE)
endfunction()
