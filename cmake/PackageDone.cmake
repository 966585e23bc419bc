# SPDX-License-Identifier: MIT
# CPack runs this when a package is made. Two things in it still tell of the machine: the tar's owner and order of files,
# and the .deb's Installed-Size, for which CPack asks the file system. So both are made once more from the same files.
get_filename_component(folder ${CPACK_TEMPORARY_INSTALL_DIRECTORY} DIRECTORY)
set(package ${CPACK_PACKAGE_FILES})

function(run)
	execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(make_tar)
	get_filename_component(top ${CPACK_TEMPORARY_INSTALL_DIRECTORY} NAME)
	execute_process(
		COMMAND tar --create --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -C ${folder} ${top}
		COMMAND gzip -9n
		OUTPUT_FILE ${package} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# dpkg-deb sorts, and takes its times from SOURCE_DATE_EPOCH. More threads would cut the stream at other places.
function(make_deb)
	set(root ${folder}/again)
	file(REMOVE_RECURSE ${root})
	run(dpkg-deb --raw-extract ${package} ${root})
	# As dpkg-gencontrol counts: kB of each file, and one for all that is no file.
	execute_process(
		COMMAND find ${root} -path ${root}/DEBIAN -prune -o -printf "%y %s\n"
		COMMAND awk "{ n += $1 == \"f\" ? int(($2 + 1023) / 1024) : 1 } END { print n }"
		OUTPUT_VARIABLE size OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
	run(sed -i "s/^Installed-Size: .*/Installed-Size: ${size}/" ${root}/DEBIAN/control)
	run(sed -i "/  etc\\//d" ${root}/DEBIAN/md5sums) # a configuration file may change; dpkg knows its sum itself
	run(dpkg-deb --root-owner-group -Zxz --threads-max=1 --build ${root} ${package})
	file(REMOVE_RECURSE ${root})
endfunction()

if(CPACK_GENERATOR STREQUAL DEB)
	make_deb()
else()
	make_tar()
endif()
