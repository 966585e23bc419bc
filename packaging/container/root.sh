#!/bin/sh
# Makes the root of the image: the program, the libraries that the linker names, and the few files that they read.
# Debian's records and licences of them go along, so that scanners know what is in there.
#   packaging/container/root.sh PROGRAM ROOT
set -eu
program=$1
root=$2

describe() { # package
	install -D -m 644 "/usr/share/doc/$1/copyright" "$root/usr/share/doc/$1/copyright"
	mkdir -p "$root/var/lib/dpkg/status.d"
	dpkg-query --status "$1" >"$root/var/lib/dpkg/status.d/$1"
}

install -D -s "$program" "$root/usr/bin/outboxd"
install -D -m 644 LICENSE "$root/usr/share/doc/outboxd/copyright"

owner() { # file: the linker says /lib/..., dpkg may know it as /usr/lib/...
	path=${1#/usr}
	dpkg-query --search "*$path" | awk -v path="$path" '$2 == path || $2 == "/usr" path { sub(/[:,].*/, ""); print; exit }'
}

# glibc loads libgcc_s by itself when a thread ends early.
for library in $(ldd "$program" | grep -o '/[^ ]*') "$(realpath "$(gcc -print-file-name=libgcc_s.so.1)")"; do
	cp -L --parents "$library" "$root"
	package=$(owner "$library")
	describe "${package:?no package has $library}"
done

install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
describe ca-certificates
mkdir -p "$root/etc/outboxd"
echo 'outboxd:x:65532:65532::/nonexistent:/nonexistent' >"$root/etc/passwd"
echo 'outboxd:x:65532:' >"$root/etc/group"
# Without this file glibc would ask DNS before /etc/hosts.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
