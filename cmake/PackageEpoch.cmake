# SPDX-License-Identifier: MIT
# The time that packages bear: SOURCE_DATE_EPOCH when it is set, else the last commit's; where there is no commit, that
# of the newest release in CHANGELOG.md. CPack reads this file for each package, before it does anything.
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
	execute_process(COMMAND git -C ${CPACK_OUTBOXD_SOURCE} log -1 --format=%ct
		OUTPUT_VARIABLE epoch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
	if(NOT epoch)
		file(STRINGS ${CPACK_OUTBOXD_SOURCE}/CHANGELOG.md releases REGEX "^## \\[.*\\] - [0-9]+-[0-9]+-[0-9]+$")
		list(GET releases 0 newest)
		string(REGEX REPLACE ".* - " "" day "${newest}")
		execute_process(COMMAND date -u -d ${day} +%s
			OUTPUT_VARIABLE epoch OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
	endif()
	set(ENV{SOURCE_DATE_EPOCH} ${epoch})
endif()
