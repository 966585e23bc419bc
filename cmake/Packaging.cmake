# SPDX-License-Identifier: MIT
# `cmake --workflow --preset package` makes the .deb and the .tar.gz in build/package/. docs/PACKAGES.md says what is in
# them. Two builds of one commit give the same bytes, wherever they are made: see OUTBOXD_SOURCE_PATH and PackageEpoch.cmake.
set(OUTBOXD_MAINTAINER "outboxd authors <outboxd@packages.invalid>" CACHE STRING
	"Who answers for the package: Name <address>. Whoever hands packages to others puts themselves here")

# Installed by `cmake --install` too.
install(TARGETS outboxd)
install(FILES docs/outboxd.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(FILES packaging/outboxd.conf packaging/outboxd.env DESTINATION ${CMAKE_INSTALL_DOCDIR})
# Not under CMAKE_INSTALL_LIBDIR: systemd looks into lib on every architecture.
install(FILES packaging/outboxd.service packaging/outboxd@.service DESTINATION lib/systemd/system)
install(FILES packaging/outboxd.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME outboxd)
install(FILES packaging/outboxd.zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions RENAME _outboxd)
install(FILES packaging/outboxd.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
install(FILES packaging/grafana-outboxd.json packaging/outboxd.rules.yml packaging/role.sql docker-compose.yml
	DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(DIRECTORY packaging/kubernetes DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(DIRECTORY packaging/compose DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/packaging) # where docker-compose.yml looks
file(GLOB docs CONFIGURE_DEPENDS docs/*.md)
install(FILES ${docs} DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
install(FILES README.md CONTRIBUTING.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
# What documents link to has another place there.
install(CODE "file(GLOB docs \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}/docs/*.md)")
install(CODE [==[execute_process(
	COMMAND sed -E -i [[s,\(\.\./(packaging/)?(docker-compose\.yml|kubernetes|role\.sql)\),(../examples/\2),]] ${docs}
	COMMAND_ERROR_IS_FATAL ANY)]==])

set(CPACK_GENERATOR DEB TGZ)
set(CPACK_PACKAGE_CONTACT ${OUTBOXD_MAINTAINER})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "transactional outbox relay: PostgreSQL to Elasticsearch")
# CPack writes this after the summary, with the blanks that the format asks for.
set(CPACK_PACKAGE_DESCRIPTION
"An application writes its data and an event into an outbox table in one
PostgreSQL transaction. outboxd delivers every committed event to
Elasticsearch or OpenSearch, once in effect and in order per document,
through outages of either server, and marks it delivered.
.
The daemon runs as a systemd service. It keeps no state of its own.")
set(CPACK_PACKAGE_FILE_NAME ${PROJECT_NAME}-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
	OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON) # the libraries' own names and versions, whatever release this is built on
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS ca-certificates)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS libnss-systemd) # peer authentication: the name of the service's user
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(file IN ITEMS conffiles postinst prerm postrm)
	list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_SOURCE_DIR}/packaging/debian/${file})
endforeach()

# For the scripts that CPack runs.
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_CURRENT_SOURCE_DIR}/cmake/PackageEpoch.cmake)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/cmake/PackageStage.cmake)
set(CPACK_POST_BUILD_SCRIPTS ${CMAKE_CURRENT_SOURCE_DIR}/cmake/PackageDone.cmake)
set(CPACK_OUTBOXD_SOURCE ${CMAKE_CURRENT_SOURCE_DIR})
set(CPACK_OUTBOXD_STRIP ${CMAKE_STRIP})
set(CPACK_OUTBOXD_PYTHON ${PYTHON3})
set(CPACK_OUTBOXD_UTHASH ${UTHASH_INCLUDE_DIR}/uthash.h) # compiled in: no linker knows it
include(CPack)
