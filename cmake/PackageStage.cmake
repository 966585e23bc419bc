# SPDX-License-Identifier: MIT
# CPack runs this when everything is installed into a folder, before it makes the package of it: what a package has and
# `cmake --install` has not. For each package there is one such folder.
set(packaging ${CPACK_OUTBOXD_SOURCE}/packaging)
set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY})
set(prefix ${root}${CPACK_PACKAGING_INSTALL_PREFIX})
set(doc ${prefix}/share/doc/outboxd)

function(run)
	execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# Without dpkg-shlibdeps CPack would say nothing and make a package that depends on nothing.
function(demand_tools)
	foreach(tool IN ITEMS dpkg-shlibdeps file)
		find_program(path_of_${tool} ${tool})
		if(NOT path_of_${tool})
			message(FATAL_ERROR "${tool} is missing, so the package would name no library that it depends on: "
				"run tests/setup/install.sh build")
		endif()
	endforeach()
endfunction()

# Debian has its own places and forms for some of them.
function(debianize)
	execute_process(COMMAND date -u -R -d @$ENV{SOURCE_DATE_EPOCH}
		OUTPUT_VARIABLE time OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
	set(version ${CPACK_PACKAGE_VERSION})
	set(release ${version}-${CPACK_DEBIAN_PACKAGE_RELEASE})
	file(CONFIGURE OUTPUT ${doc}/changelog.Debian @ONLY CONTENT [[
outboxd (@release@) unstable; urgency=medium

  * outboxd @version@. What changed is in changelog.gz.

 -- @CPACK_PACKAGE_CONTACT@  @time@
]])
	file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)
	file(GLOB documents ${doc}/*.md ${doc}/docs/*.md)
	run(sed -E -i [[s,\((\.\./)?CHANGELOG\.md\),(\1changelog.gz),]] ${documents})
	run(gzip -9n ${doc}/changelog ${doc}/changelog.Debian ${prefix}/share/man/man8/outboxd.8)
	file(REMOVE ${doc}/LICENSE)
	run(install -D -m 644 ${packaging}/debian/copyright ${doc}/copyright)
	run(install -D -m 644 ${packaging}/debian/lintian-overrides ${prefix}/share/lintian/overrides/outboxd)
	file(RENAME ${prefix}/share/zsh/site-functions ${prefix}/share/zsh/vendor-completions)

	# Everybody may read the configuration: the service does so as a user who exists only while it runs. What is secret has
	# a file that systemd reads as root; it is there from the start, so that nobody has to think of its mode.
	run(install -D -m 644 ${doc}/outboxd.conf ${root}/etc/outboxd/outboxd.conf)
	run(install -D -m 600 ${doc}/outboxd.env ${root}/etc/outboxd/outboxd.env)
	file(REMOVE ${doc}/outboxd.conf ${doc}/outboxd.env)
endfunction()

if(CPACK_GENERATOR STREQUAL DEB)
	demand_tools()
endif()
run(${CPACK_OUTBOXD_STRIP} --remove-section=.comment --remove-section=.note ${prefix}/bin/outboxd)
if(CPACK_GENERATOR STREQUAL DEB)
	debianize()
endif()
run(${CPACK_OUTBOXD_PYTHON} ${packaging}/sbom.py --version ${CPACK_PACKAGE_VERSION} --header ${CPACK_OUTBOXD_UTHASH}
	${prefix}/bin/outboxd OUTPUT_FILE ${doc}/outboxd.cdx.json)
# Modes that do not depend on who builds, and one time for all: the archives take both from here.
run(find ${root} -type d -exec chmod 755 {} +)
run(find ${doc} -type f -exec chmod 644 {} +)
run(find ${root} -exec touch --no-dereference --date=@$ENV{SOURCE_DATE_EPOCH} {} +)
