package test

import "runtime"

// sysSetns is the number of setns(2), which package syscall does not have.
var sysSetns = map[string]uintptr{"amd64": 308, "386": 346, "arm64": 268, "arm": 375}[runtime.GOARCH]
