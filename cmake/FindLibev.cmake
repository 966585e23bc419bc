# SPDX-License-Identifier: MIT
# Debian ships no .pc file for libev. Gives the target Libev::Libev (its headers count as system headers).
find_path(LIBEV_INCLUDE_DIR ev.h)
find_library(LIBEV_LIBRARY ev)
mark_as_advanced(LIBEV_INCLUDE_DIR LIBEV_LIBRARY)
if(LIBEV_INCLUDE_DIR)
	file(STRINGS ${LIBEV_INCLUDE_DIR}/ev.h version REGEX "^#define EV_VERSION_(MAJOR|MINOR) ")
	string(REGEX REPLACE ".*MAJOR ([0-9]+).*MINOR ([0-9]+).*" "\\1.\\2" Libev_VERSION "${version}")
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Libev REQUIRED_VARS LIBEV_LIBRARY LIBEV_INCLUDE_DIR VERSION_VAR Libev_VERSION)

if(Libev_FOUND AND NOT TARGET Libev::Libev)
	add_library(Libev::Libev UNKNOWN IMPORTED)
	set_target_properties(Libev::Libev PROPERTIES
		IMPORTED_LOCATION ${LIBEV_LIBRARY}
		INTERFACE_INCLUDE_DIRECTORIES ${LIBEV_INCLUDE_DIR})
endif()
