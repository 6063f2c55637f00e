{
  "targets": [
    {
      "target_name": "fuse_device",
      "sources": ["mount/fuse/native/fuse-device.c", "mount/fuse/native/fusermount.c"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type"]
    },
    {
      "target_name": "stream_socket",
      "sources": ["wire/native/stream-socket.c"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wno-cast-function-type"]
    },
    {
      "target_name": "lock-process",
      "type": "executable",
      "sources": ["conformance/lock-process.c"],
      "cflags": ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-pthread"],
      "ldflags": ["-pthread"]
    }
  ]
}
