# SPDX-License-Identifier: MIT
# The status page is written as a page and linked into the program as bytes, together with the policy
# (Content-Security-Policy) that lets a browser run its one script and its one style, known by their hashes, and
# nothing else. Two uses of this file:
#
# include(EmbedPage) gives embed_page(TARGET FILE): generates run/page.h and page.c and adds them to the target.
# cmake -D PAGE=... -D OUT_DIR=... -P EmbedPage.cmake: does that work at build time.

include(${CMAKE_CURRENT_LIST_DIR}/CBytes.cmake)

function(embed_page target file)
	set(script ${CMAKE_CURRENT_FUNCTION_LIST_FILE})
	set(page ${CMAKE_CURRENT_SOURCE_DIR}/${file})
	set(out_dir ${CMAKE_CURRENT_BINARY_DIR}/page)
	add_custom_command(
		OUTPUT ${out_dir}/run/page.h ${out_dir}/page.c
		COMMAND ${CMAKE_COMMAND} -D PAGE=${page} -D OUT_DIR=${out_dir} -P ${script}
		DEPENDS ${page} ${script} ${PROJECT_SOURCE_DIR}/cmake/CBytes.cmake
		COMMENT "Embedding ${file}"
		VERBATIM)
	target_sources(${target} PRIVATE ${out_dir}/page.c ${out_dir}/run/page.h)
	target_include_directories(${target} PRIVATE ${out_dir})
endfunction()

# The hash of a text as a policy writes it: 'sha256-...'. 32 bytes and a zero are 11 groups of 4 letters; the last
# letter stands for the zero and is written as "=".
function(policy_hash text ret_hash)
	string(SHA256 hex "${text}")
	set(alphabet ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
	set(letters "")
	foreach(at RANGE 0 60 6)
		string(SUBSTRING "${hex}00" ${at} 6 group)
		foreach(shift IN ITEMS 18 12 6 0)
			math(EXPR index "(0x${group} >> ${shift}) & 63")
			string(SUBSTRING ${alphabet} ${index} 1 letter)
			string(APPEND letters ${letter})
		endforeach()
	endforeach()
	string(SUBSTRING ${letters} 0 43 letters)
	set(${ret_hash} "'sha256-${letters}='" PARENT_SCOPE)
endfunction()

# What stands between <NAME> and </NAME>, of which there must be one.
function(element page name ret_text)
	string(FIND "${page}" "<${name}" begin)
	string(FIND "${page}" "<${name}" last REVERSE)
	string(LENGTH "<${name}>" skip)
	string(FIND "${page}" "</${name}>" end)
	if(begin LESS 0 OR NOT begin EQUAL last OR end LESS begin)
		message(FATAL_ERROR "${PAGE}: there must be one <${name}>")
	endif()
	math(EXPR begin "${begin} + ${skip}")
	math(EXPR length "${end} - ${begin}")
	string(SUBSTRING "${page}" ${begin} ${length} text)
	set(${ret_text} "${text}" PARENT_SCOPE)
endfunction()

function(generate_page)
	set(spdx "// SPDX-License-Identifier: MIT\n// Generated from src/run/page.html by cmake/EmbedPage.cmake.\n")
	file(READ ${PAGE} page)
	element("${page}" script text)
	policy_hash("${text}" script)
	element("${page}" style text)
	policy_hash("${text}" style)
	string(JOIN "; " policy "default-src 'none'" "script-src ${script}" "style-src ${style}" "connect-src 'self'"
		"img-src data:" "base-uri 'none'" "form-action 'none'" "frame-ancestors 'none'")
	c_bytes(${PAGE} bytes)

	file(WRITE ${OUT_DIR}/run/page.h "${spdx}#ifndef OUTBOXD_RUN_PAGE_H
#define OUTBOXD_RUN_PAGE_H

#include <stddef.h>

extern const char admin_page[]; // text/html; charset=utf-8
extern const size_t admin_page_len; // in bytes
// The page's Content-Security-Policy.
extern const char admin_page_policy[];

#endif
")
	file(WRITE ${OUT_DIR}/page.c "${spdx}#include \"run/page.h\"

const char admin_page[] = ${bytes};
const size_t admin_page_len = sizeof(admin_page) - 1;
const char admin_page_policy[] = \"${policy}\";
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
	cmake_minimum_required(VERSION 3.25)
	generate_page()
endif()
