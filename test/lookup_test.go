package test

import (
	"context"
	"fmt"
	"net"
)

// lookUp is the environment variable with the name that TestMain looks up, instead of running tests.
const lookUp = "BIP324_TEST_LOOK_UP"

// lookUpName prints the addresses of a name, by the resolver that GODEBUG=netdns chooses.
func lookUpName(name string) int {
	ips, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", name)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, ip := range ips {
		fmt.Println(ip.Unmap())
	}
	return 0
}
