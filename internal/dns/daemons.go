package dns

// Daemons are the directories with the sockets of systemd-resolved, nscd and Avahi, which look
// names up for other programs. They may be below /var, too.
var Daemons = []string{"/run/systemd/resolve", "/run/nscd", "/run/avahi-daemon"}
