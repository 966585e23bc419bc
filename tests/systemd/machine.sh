# Bare Debians, also with a real systemd that boots in a container: tests/systemd/run, tests/packages/run and
# tests/containers/run source this. Root only. The network is the one outside, where the servers of the tests are. Base images
# are kept in the cache.

machine_cache=${OUTBOXD_CACHE:-/var/cache/outboxd}

make_base() { # release packages scratch tar
	local root=$3/root unit
	debootstrap --variant=minbase ${2:+--include="$2"} "$1" "$root" >"$3/debootstrap.log" ||
		{ tail "$3/debootstrap.log"; return 1; }
	rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
	# They would set what belongs to the machine around the container.
	for unit in systemd-sysctl systemd-modules-load systemd-logind; do
		[ ! -d "$root/etc/systemd/system" ] || ln -s /dev/null "$root/etc/systemd/system/$unit.service"
	done
	mkdir -p "$machine_cache"
	tar -C "$root" -c . | gzip -1 >"$4.new"
	mv "$4.new" "$4"
	rm -rf "$root"
}

# The image of that name: a bare Debian with these packages, none if "".
base_make() { # image release packages(a,b,c) scratch
	podman image exists "$1" && return
	local base
	base=$machine_cache/root-$2-$(sha256sum <<<"$3" | cut -c1-8).tar.gz
	[ -e "$base" ] || { echo "making the base image"; make_base "$2" "$3" "$4" "$base"; }
	podman import --quiet "$base" "$1" >/dev/null
}

# Sets machine_image.
machine_make() { # release packages(a,b,c) scratch
	machine_image=localhost/outboxd-test/systemd:$1-$(sha256sum <<<"$2" | cut -c1-8)
	base_make "$machine_image" "$@"
}

machine_start() { # container: of machine_image
	# crun and the default limits fail inside of some machines.
	podman --runtime runc run --detach --name "$1" --network host --systemd=always --privileged \
		--ulimit nofile=1024:1024 --ulimit nproc=4096:4096 "$machine_image" \
		sh -c 'mount --make-rshared / && exec /sbin/init' >/dev/null # else LoadCredential= gives nothing
}

machine_wait() { # container
	local state=
	for _ in {1..50}; do # the bus is not there at once
		state=$(podman exec "$1" systemctl is-system-running --wait 2>/dev/null || true)
		[ "$state" = running ] && return
		sleep 0.2
	done
	podman exec "$1" systemctl --failed --no-pager
	return 1
}

machine_remove() { # container
	podman rm --force --time 0 "$1" >/dev/null 2>&1 || true
}
