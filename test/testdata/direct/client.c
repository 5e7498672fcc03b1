// A v1 client of the tests without a proxy setting: client HOST PORT. It sends what is on its stdin to the peer and
// prints what the peer sends, until that ends with a VERACK.
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int connect_to(const char *host, const char *port) {
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *all;
	int err = getaddrinfo(host, port, &hints, &all);
	if (err) {
		fprintf(stderr, "%s: %s\n", host, gai_strerror(err));
		return -1;
	}
	for (struct addrinfo *a = all; a; a = a->ai_next) {
		int fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0)
			return fd;
		perror(host);
	}
	return -1;
}

int main(int argc, char **argv) {
	static char said[4096], heard[65536];
	int fd = argc == 3 ? connect_to(argv[1], argv[2]) : -1;
	if (fd < 0)
		return 1;
	size_t n = fread(said, 1, sizeof said, stdin), got = 0;
	if (write(fd, said, n) != (ssize_t)n)
		return 2;
	const char verack[12] = "verack";
	while (got < 24 || memcmp(heard + got - 20, verack, sizeof verack)) { // it has no payload
		ssize_t more = read(fd, heard + got, sizeof heard - got);
		if (more <= 0) {
			fprintf(stderr, "%s: the peer closed the connection after %zu bytes\n", argv[1], got);
			return 3;
		}
		got += more;
	}
	return fwrite(heard, 1, got, stdout) != got;
}
