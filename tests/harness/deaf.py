"""Makes sockets deaf: the kernel drops what comes in before it is even acknowledged. As a program it does so to its standard input,
for there are kernels on which only root may."""

from __future__ import annotations

import ctypes
import socket
import struct

# The constants of socket.h that Python does not have, and a packet filter of one instruction: keep nothing.
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))


def make_deaf(each: socket.socket) -> None:
    each.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(_DROP_ALL)))


def make_hear(each: socket.socket) -> None:
    each.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


if __name__ == "__main__":
    make_deaf(socket.socket(fileno=0))
