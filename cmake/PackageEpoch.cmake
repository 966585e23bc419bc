# SPDX-License-Identifier: MIT
# The time that packages bear: SOURCE_DATE_EPOCH when it is set, else the last commit's; where there is no repository,
# that of the newest release in CHANGELOG.md. CPack reads this file for each package, before it does anything.
if(NOT DEFINED ENV{SOURCE_DATE_EPOCH})
	if(EXISTS ${CPACK_OUTBOXD_SOURCE}/.git)
		set(ask git -C ${CPACK_OUTBOXD_SOURCE} log -1 --format=%ct)
	else()
		file(STRINGS ${CPACK_OUTBOXD_SOURCE}/CHANGELOG.md releases REGEX "^## \\[.*\\] - [0-9]+-[0-9]+-[0-9]+$")
		if(NOT releases)
			message(FATAL_ERROR "There is no commit and no release to take the time from: set SOURCE_DATE_EPOCH")
		endif()
		list(GET releases 0 newest)
		string(REGEX REPLACE ".* - " "" day "${newest}")
		set(ask date -u -d ${day} +%s)
	endif()
	execute_process(COMMAND ${ask} OUTPUT_VARIABLE epoch OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
	set(ENV{SOURCE_DATE_EPOCH} ${epoch})
endif()
