# SPDX-License-Identifier: MIT
# SQL is written, read and tested as SQL, and linked into the program as bytes. Two uses of this file:
#
# include(EmbedSql) gives embed_sql(TARGET): generates pg/sql.h and sql.c and adds them to the target.
#   sql/queries/claim.sql       -> extern const char sql_query_claim[];
#   sql/migrations/0001_x.sql   -> a row of sql_migrations[], in order of number; the last row's name is NULL
#
# cmake -D SQL_DIR=... -D OUT_DIR=... -P EmbedSql.cmake: does that work at build time.

include(${CMAKE_CURRENT_LIST_DIR}/CBytes.cmake)

function(embed_sql target)
	set(script ${CMAKE_CURRENT_FUNCTION_LIST_FILE})
	set(sql_dir ${PROJECT_SOURCE_DIR}/sql)
	set(out_dir ${CMAKE_CURRENT_BINARY_DIR}/sql)
	file(GLOB files CONFIGURE_DEPENDS ${sql_dir}/migrations/*.sql ${sql_dir}/queries/*.sql)
	# Rewritten only when it differs: this is how a file that was removed reaches the custom command.
	file(CONFIGURE OUTPUT ${out_dir}/files.txt CONTENT "${files}\n")
	add_custom_command(
		OUTPUT ${out_dir}/pg/sql.h ${out_dir}/sql.c
		COMMAND ${CMAKE_COMMAND} -D SQL_DIR=${sql_dir} -D OUT_DIR=${out_dir} -P ${script}
		DEPENDS ${files} ${out_dir}/files.txt ${script} ${PROJECT_SOURCE_DIR}/cmake/CBytes.cmake
		COMMENT "Embedding sql/"
		VERBATIM)
	target_sources(${target} PRIVATE ${out_dir}/sql.c ${out_dir}/pg/sql.h)
	target_include_directories(${target} PUBLIC ${out_dir})
endfunction()

function(generate)
	set(spdx "// SPDX-License-Identifier: MIT\n// Generated from sql/ by cmake/EmbedSql.cmake.\n")
	set(queries "")
	set(definitions "")
	set(rows "")
	set(last_number 0)

	file(GLOB files ${SQL_DIR}/queries/*.sql) # sorted by name
	foreach(file IN LISTS files)
		cmake_path(GET file STEM LAST_ONLY stem)
		if(NOT stem MATCHES "^[a-z][a-z0-9_]*$")
			message(FATAL_ERROR "${file}: the name of a query is [a-z][a-z0-9_]*.sql")
		endif()
		c_bytes(${file} bytes)
		string(APPEND queries "extern const char sql_query_${stem}[];\n")
		string(APPEND definitions "\nconst char sql_query_${stem}[] = ${bytes};\n")
	endforeach()

	file(GLOB files ${SQL_DIR}/migrations/*.sql)
	foreach(file IN LISTS files)
		cmake_path(GET file STEM LAST_ONLY stem)
		if(NOT stem MATCHES "^0*([1-9][0-9]*)_([a-z0-9_]+)$")
			message(FATAL_ERROR "${file}: the name of a migration is NNNN_name.sql, from 0001")
		endif()
		set(number ${CMAKE_MATCH_1})
		set(name ${CMAKE_MATCH_2})
		math(EXPR expected "${last_number} + 1")
		if(NOT number EQUAL expected)
			message(FATAL_ERROR "${file}: migration ${expected} is missing or double")
		endif()
		set(last_number ${number})
		c_bytes(${file} bytes)
		string(APPEND definitions "\nstatic const char migration_${number}[] = ${bytes};\n")
		string(APPEND rows "\t{ ${number}, \"${name}\", migration_${number} },\n")
	endforeach()

	file(WRITE ${OUT_DIR}/pg/sql.h "${spdx}#ifndef OUTBOXD_PG_SQL_H
#define OUTBOXD_PG_SQL_H

struct sql_migration {
	int number; // from 1, without gaps
	const char *name;
	const char *text;
};

// In order; the last row's number is 0 and its name NULL.
extern const struct sql_migration sql_migrations[];

${queries}
#endif
")
	file(WRITE ${OUT_DIR}/sql.c "${spdx}#include \"pg/sql.h\"

#include <stddef.h>
${definitions}
const struct sql_migration sql_migrations[] = {
${rows}	{ 0, NULL, NULL },
};
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
	cmake_minimum_required(VERSION 3.25)
	generate()
endif()
