# SPDX-License-Identifier: MIT
# CPack runs this when a package is made. Its tar takes owner and order from the folder as it is; so the .tar.gz is made
# once more, with root's files in order of name. Its .deb needs nothing.
if(CPACK_GENERATOR STREQUAL TGZ)
	cmake_path(GET CPACK_TEMPORARY_INSTALL_DIRECTORY PARENT_PATH folder)
	cmake_path(GET CPACK_TEMPORARY_INSTALL_DIRECTORY FILENAME top)
	execute_process(
		COMMAND tar --create --sort=name --owner=0 --group=0 --numeric-owner --format=gnu ${top}
		COMMAND gzip -9n
		WORKING_DIRECTORY ${folder} OUTPUT_FILE ${CPACK_PACKAGE_FILES} COMMAND_ERROR_IS_FATAL ANY)
endif()
