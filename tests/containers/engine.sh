# Containers of the tests live in a store of their own, so that stand-ins never take the place of real images of the same
# names. Sourced by tests/containers/run after tests/systemd/machine.sh; sets what podman, buildah and docker-compose read.

engine_use() { # scratch
	local store=$machine_cache/containers run=/run/outboxd-containers
	mkdir -p "$store/networks"
	cat >"$1/storage.conf" <<-END
		[storage]
		driver = "overlay"
		graphroot = "$store/storage"
		runroot = "$run/storage"
	END
	# crun and the default limits fail inside of some machines.
	cat >"$1/containers.conf" <<-END
		[containers]
		default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
		log_driver = "k8s-file"
		[engine]
		runtime = "runc"
		events_logger = "file"
		tmp_dir = "$run/libpod"
		[network]
		network_backend = "netavark"
		network_config_dir = "$store/networks"
	END
	export CONTAINERS_STORAGE_CONF=$1/storage.conf CONTAINERS_CONF=$1/containers.conf
}

# What docker-compose talks to.
engine_serve() { # scratch
	podman system service --time=0 "unix://$1/engine.sock" 2>"$1/engine.log" &
	engine_pid=$!
	export DOCKER_HOST=unix://$1/engine.sock
	# docker-compose 1 has the program docker do its `exec` and `run`; Debian's package brings none.
	mkdir -p "$1/bin"
	printf '#!/bin/sh\nexec podman "$@"\n' >"$1/bin/docker"
	chmod 755 "$1/bin/docker"
	export PATH=$1/bin:$PATH
	local tries=100
	until [ -S "$1/engine.sock" ]; do
		((tries-- > 0)) || { cat "$1/engine.log"; return 1; }
		sleep 0.1
	done
}

engine_build() { # image context arguments...
	local image=$1 context=$2
	shift 2
	buildah bud --isolation chroot --network host --format docker --tag "$image" "$@" "$context" >"$scratch/build.log" 2>&1 ||
		{ tail -n 50 "$scratch/build.log"; return 1; }
}
