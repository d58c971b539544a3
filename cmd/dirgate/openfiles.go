package main

import (
	"golang.org/x/sys/unix"

	"github.com/dirgate/dirgate/cmd/internal/config"
	"github.com/dirgate/dirgate/gateway"
)

// reservedFiles are what the store, the listeners, the kept connections to
// controllers, those to JumpCloud and the admin socket take.
const reservedFiles = 512

// sessionsFor is how many sessions a limit of open files allows: each has a
// connection to its client and one to a controller. Of a small limit half is
// left to the rest.
func sessionsFor(files uint64) int {
	const boundless = 1 << 30
	return int(max(1, (min(files, boundless)-min(reservedFiles, files/2))/2))
}

// limits is what the gateway takes over of a configuration. More sessions than
// there can be open files for are not let in: they would take those of the
// store, and then nobody would be served.
func (d *daemon) limits(cfg *config.Config) gateway.Limits {
	l := limitsOf(cfg)
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		d.log.Warn("limit of open files not known", "err", err)
		return l
	}
	if most := sessionsFor(files.Cur); l.MaxConnections > most {
		d.log.Warn("gateway.max_connections is more than the limit of open files allows: raise that (LimitNOFILE of systemd, ulimit -n) to twice the connections and 512",
			"max_connections", l.MaxConnections, "in_effect", most, "open_files", files.Cur)
		l.MaxConnections = most
		l.MaxPerAddress = min(l.MaxPerAddress, most)
	}
	return l
}
